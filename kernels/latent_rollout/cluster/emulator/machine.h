// The emulated machine as the kernel's side sees it. Compiled once; a variant's library only links it.
#pragma once
#include <cstdint>

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;

namespace emu {
constexpr int PROGRAMS = 8, WARPS = 8, THREADS = 32 * WARPS;
constexpr int ALL_WARPS = PROGRAMS * WARPS, ALL_THREADS = 32 * ALL_WARPS;

struct Buffer {  // of global memory
  const char* name;
  u8* start;
  u64 bytes;
  u64 output;  // each byte may be written once
};
struct Report {
  u64 races, messages, collectives, most_on_the_way, cycles, least_cycles;
};

// Who runs: a thread numbered over the cluster.
int thread_id();
int first_block();
int grid_blocks();

// Memory. Wrong ends the run, with a message.
void load_shared(u32 at, void* to, u32 bytes);
void store_shared(u32 at, const void* from, u32 bytes);
void load_global(const void* from, void* to, u32 bytes);
void store_global(void* to, const void* from, u32 bytes);
void copy_ahead(u32 to, const void* from, u32 bytes);  // cp.async: lands when it is waited for, at the latest moment
void copy_wait();

// An operation of all 32 lanes: who comes last computes it, from up to 12 words of each lane to up to 4.
using Compute = void (*)(u32 (*in)[12], u32 (*out)[4]);
void collective(int operation, const u32* in, int words, Compute compute, u32* out, int results);

// Barriers. An address in another program has its rank in the upper 8 bits.
void named_barrier(int id, int threads, bool wait);
void cluster_barrier();
void mbar_init(u32 bar, u32 arrivals);
void mbar_expect(u32 bar, u32 bytes);
void mbar_wait(u32 bar, u32 parity);
void send(u32 at, u32 bar, int words, const u32* data);

// Runs `body` in every thread of `clusters` clusters, one cluster after another. Returns what went wrong, or nothing.
const char* run(void (*body)(), int clusters, u32 shared_bytes, const Buffer* buffers, int count, u32 seed,
                Report* report);
}  // namespace emu
