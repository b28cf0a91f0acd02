"""What on this host holds an echo server, or a load, back."""
