// Runs a cluster to its end: warps resumed in random order and at random speeds that change now and then, stores in the
// mail delivered late and out of order.
#pragma once
#include "machine.h"

namespace emu {
inline void (*body)();
inline void enter() {
  body();
  current->done = true, ++progress;
  for (;;) yield();
}

inline void start_cluster(int cluster, int clusters, size_t shared, u32 seed, const Stacks& stacks) {
  first_block = cluster * PROGRAMS_EMULATED, grid_blocks = clusters * PROGRAMS_EMULATED;
  rng.seed(seed);
  threads.assign(ALL_THREADS, {});
  programs.assign(PROGRAMS_EMULATED, {});
  warps.assign(ALL_WARPS, {});
  banks.start(ALL_WARPS);
  mail.clear();
  cluster_barrier = {};
  for (Program& p : programs) {
    p.shared.assign(shared, FRESH);
    p.words.assign(shared / 4, {});
    p.mbarriers.assign(shared / 8, {});
  }
  for (int k = 0; k < ALL_THREADS; ++k) {
    threads[k].id = k;
    make_fiber(threads[k].fiber, stacks.at(k), Stacks::SIZE, enter);
  }
}

inline bool resume(int warp) {  // whether all of its lanes are at their end
  bool all = true;
  for (int lane = 0; lane < 32; ++lane) {
    Thread& t = threads[warp * 32 + lane];
    if (t.done) continue;
    current = &t;
    switch_fiber(scheduler, t.fiber);
    current = nullptr;
    if (!failure.empty()) return false;
    all &= t.done;
  }
  return all;
}

inline void run_cluster(int cluster, int clusters, size_t shared, u32 seed) {
  static const Stacks stacks(ALL_THREADS);
  start_cluster(cluster, clusters, shared, seed, stacks);
  std::vector<bool> finished(ALL_WARPS, false);
  std::vector<u32> speed(ALL_WARPS, 128);  // of 256
  int alive = ALL_WARPS, idle = 0;
  u64 last = progress;
  while (alive) {
    if (rng() % 64 == 0)
      for (u32& s : speed) s = rng() % 4 ? 255 : rng() % 256;
    const u32 post = rng() % 3 == 0 ? 1000 : rng() % 40;  // of 1000
    for (int k = 0; k < ALL_WARPS; ++k) {
      const int w = rng() % ALL_WARPS;
      if (finished[w] || rng() % 256 > speed[w]) continue;
      if (resume(w)) finished[w] = true, --alive, --programs[w / WARPS_EMULATED].alive;
      if (!mail.empty() && rng() % 1000 < post) deliver(rng() % mail.size());
      if (!failure.empty()) return;
    }
    report.most_on_the_way = std::max(report.most_on_the_way, (u64)mail.size());
    idle = progress == last ? idle + 1 : 0, last = progress;
    if (idle > PATIENCE) {
      failure = "a hang: no progress, " + std::to_string(mail.size()) + " stores on their way";
      return;
    }
  }
  if (!mail.empty()) failure = std::to_string(mail.size()) + " stores that none waited for";
  for (const Program& p : programs)
    for (const Mbarrier& b : p.mbarriers)
      if (b.phase != b.awaited) failure = "stores came that none waited for";
}
}  // namespace emu
