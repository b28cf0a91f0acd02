/* The bytes of every message: what is sent, and so what has to come back. */
#include "load.h"

#define SHIFTS 4096 /* places in the noise where a message's bytes may begin */
#define ODD 0x9E3779B97F4A7C15ull
#define INVERSE 0xF1DE83E19937733Dull /* ODD * INVERSE is 1 modulo 2**64 */

static char noise[LARGEST + SHIFTS];

static uint64_t stamp_of(uint32_t flow, uint32_t slot, uint32_t serial) {
    return ((uint64_t)flow << 48 | (uint64_t)slot << 32 | serial) * ODD; /* one bit changed is another message's, or none */
}

static const char *body_of(uint32_t flow, uint32_t serial) { return noise + (serial * 61 + flow * 131) % SHIFTS; }

void write_message(char *to, uint32_t flow, uint32_t slot, uint32_t serial) {
    uint64_t stamp = stamp_of(flow, slot, serial);
    memcpy(to, &stamp, sizeof stamp);
    memcpy(to + sizeof stamp, body_of(flow, serial), plan.size - sizeof stamp);
}

void write_stream(char *to, uint32_t flow, uint64_t offset, size_t count) {
    while (count) {
        uint32_t serial = (uint32_t)(offset / plan.size);
        size_t within = offset % plan.size, piece;
        if (within < sizeof(uint64_t)) {
            uint64_t stamp = stamp_of(flow, 0, serial);
            piece = sizeof stamp - within < count ? sizeof stamp - within : count;
            memcpy(to, (char *)&stamp + within, piece);
        } else {
            piece = plan.size - within < count ? plan.size - within : count;
            memcpy(to, body_of(flow, serial) + within - sizeof(uint64_t), piece);
        }
        to += piece;
        offset += piece;
        count -= piece;
    }
}

void read_stamp(const char *message, uint32_t *slot, uint32_t *serial) {
    uint64_t stamp;
    memcpy(&stamp, message, sizeof stamp);
    stamp *= INVERSE;
    *slot = (uint32_t)(stamp >> 32) & 0xffff;
    *serial = (uint32_t)stamp;
}

void make_noise(void) {
    uint64_t state = 20260101;
    for (size_t i = 0; i < sizeof noise; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
        noise[i] = (char)(state >> 56);
    }
}
