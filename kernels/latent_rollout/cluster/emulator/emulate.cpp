// The kernel's own source as a library for a CPU; __init__.py builds and calls it.
#include <rollout.cu>

static const Arguments* arguments;

// Runs a launch. Returns what went wrong, or nothing; fills `report`.
extern "C" const char* emulate(const Arguments* a, const emu::Buffer* buffers, int count, int groups, u32 seed,
                               emu::Report* report) {
  arguments = a;
  return emu::run([] { rollout(*arguments); }, groups, SHARED_BYTES, buffers, count, seed, report);
}

extern "C" int shared_bytes() { return SHARED_BYTES; }
