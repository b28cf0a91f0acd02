/* How times are spread: counts by length, from which percentiles are read to within 0.8 %. */
#ifndef SPREAD_H
#define SPREAD_H

#include <stdint.h>
#include <string.h>

/* The upper 16 bits of a float are its exponent and 7 bits after the leading one: in order, and 128 to an octave. */
struct spread {
    uint64_t counts[1 << 15], all, greatest;
};

static inline uint32_t place_of(uint64_t nanoseconds) {
    float value = (float)nanoseconds;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 16;
}

/* Give the middle of a place. */
static inline double middle_of(uint32_t place) {
    uint32_t bits = place << 16 | 1 << 15;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void spread_add(struct spread *spread, uint64_t nanoseconds) {
    spread->counts[place_of(nanoseconds)]++;
    spread->all++;
    if (nanoseconds > spread->greatest) spread->greatest = nanoseconds;
}

/* Give the time in nanoseconds that a part (0 to 1) of all times does not exceed; 0 if there are none. */
static inline double spread_percentile(const struct spread *spread, double part) {
    uint64_t wanted = (uint64_t)(part * (double)spread->all), seen = 0;
    for (uint32_t place = 0; place < 1 << 15; place++) {
        seen += spread->counts[place];
        if (seen > wanted || (seen && seen == spread->all)) {
            double middle = middle_of(place);
            return middle < (double)spread->greatest ? middle : (double)spread->greatest;
        }
    }
    return 0;
}

#endif
