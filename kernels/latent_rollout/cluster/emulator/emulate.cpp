// The kernel's own source as a library for a CPU; emulator/__init__.py builds and calls it.
#include <rollout.cu>

#include "schedule.h"

static const Arguments* arguments;

// Runs a launch cluster after cluster. Returns what went wrong, or nothing; fills `report`.
extern "C" const char* emulate(const Arguments* a, const emu::Buffer* buffers, int count, int groups, u32 seed,
                               emu::Report* report) {
  emu::failure.clear();
  emu::report = {};
  emu::banks = {};
  emu::buffers.assign(buffers, buffers + count);
  emu::written.assign(count, {});
  for (int k = 0; k < count; ++k)
    if (buffers[k].output) emu::written[k].assign(buffers[k].bytes, false);
  arguments = a;
  emu::body = [] { rollout(*arguments); };
  for (int cluster = 0; cluster < groups && emu::failure.empty(); ++cluster)
    emu::run_cluster(cluster, groups, SHARED_BYTES, seed + cluster);
  emu::report.cycles = emu::banks.cycles, emu::report.least_cycles = emu::banks.least;
  *report = emu::report;
  return emu::failure.c_str();
}

extern "C" int shared_bytes() { return SHARED_BYTES; }
