// Latent rollout, weights stationary in a thread-block cluster: 8 programs share 8 or 16 rows for the whole rollout.
// README.md in the folder above says how it works and why it needs no more barriers than it has.
#include <device.h>

#include <shape.h>
#include <signs.h>
#include <state.h>
#include <weights.h>

#include <block_step.h>

// Runs BLOCK, then the others of a transition in their order.
template <int BLOCK>
DEVICE void transition(const Arguments& a, const Frame& f, const uint4 (&held)[HELD_ROOM][MT][KT], Owned& o, int step,
                       u32& turn, Signs& s) {
  block_step<BLOCK>(a, f, held, o, step, turn, s);
  ++turn;
  if constexpr (ADJOINT ? BLOCK > 0 : BLOCK + 1 < BLOCKS)
    transition<ADJOINT ? BLOCK - 1 : BLOCK + 1>(a, f, held, o, step, turn, s);
}

KERNEL(rollout, Arguments a) {
  const int thread = thread_index();
  Frame f;
  f.lane = thread & 31, f.warp = uniform(thread >> 5), f.g = f.lane >> 2, f.q = f.lane & 3;
  f.rank = cluster_rank(), f.group = block_index() / PROGRAMS, f.groups = grid_size() / PROGRAMS;
  f.row0 = f.group * ROWS, f.batch = a.batch, f.transitions = a.transitions;
  f.smem = shared_base(), f.state_bar = f.smem + AT_BARRIERS, f.parts_bar = f.state_bar + 8;
  const int total = a.transitions * BLOCKS;
  if (thread == 0) {
    mbar_init(f.state_bar, 1);
    mbar_init(f.parts_bar, 1);
    mbar_init_fence();
    mbar_expect(f.state_bar, STATE_BYTES);
    mbar_expect(f.parts_bar, PARTS_BYTES);
  }
  preload(a, f, thread);
  uint4 held[HELD_ROOM][MT][KT];
  hold_mix(a, f, held);
  Signs s = {{0, 0}, 0};
  if (ADJOINT && total > 0) s = load_signs(a, f, total - 1);
  Owned o;
  if (f.warp == OWNER) load_owned(a, f, o);

  reconverge();
  cluster_sync();  // every program's barriers are ready, and its weights
  if (f.warp == OWNER && total > 0) send(f, o);
  u32 turn = 0;
#pragma unroll 1
  for (int n = 0; n < a.transitions; ++n)
    transition<ADJOINT ? BLOCKS - 1 : 0>(a, f, held, o, ADJOINT ? a.transitions - 1 - n : n, turn, s);
  reconverge();
  cluster_sync();  // none leaves while another may still write to it
}
