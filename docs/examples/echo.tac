# Run with: twistd -ny echo.tac
import echobench

echobench.install_best_reactor()  # first of all: what is imported below may import a reactor of its own choice

import os

from twisted.application.service import Application

application = Application("echo")
port = int(os.environ.get("ECHO_PORT", "7007"))
echobench.EchoService(port, ["127.0.0.1", "::1"], udp_rate=1000).setServiceParent(application)
