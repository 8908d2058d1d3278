// Shared memory, whose accesses must be ordered, and global memory, whose outputs are written once.
#pragma once
#include "inside.h"

namespace emu {
inline void note_read(u32 at, u32 bytes) {
  for (u32 k = at / 4; k < (at + bytes) / 4; ++k) {
    Word& word = program().words[k];
    if (reads_unordered(word, current->id, current->clock)) race("a read of an unordered write", 4 * k, current->id);
    Access& read = word.reads[current->id % THREADS / 32];
    const bool alone = read.at != warp().epoch || read.thread == current->id;
    read = {alone ? current->id : SEVERAL, warp().epoch};
  }
}
inline void note_write(int owner, u32 at, u32 bytes, int thread, u32 epoch, const Clock& clock) {
  for (u32 k = at / 4; k < (at + bytes) / 4; ++k) {
    Word& word = programs[owner].words[k];
    if (reads_unordered(word, thread, clock)) race("a write over an unordered write", 4 * k, thread);
    if (writes_unordered(word, owner, thread, clock)) race("a write over an unordered read", 4 * k, thread);
    word.write = {thread, epoch};
  }
}
inline void check_shared(u32 at, u32 bytes) {
  if (at % bytes) fail("a misaligned access of shared memory at " + std::to_string(at));
  if (at + bytes > program().shared.size()) fail("an access beyond shared memory at " + std::to_string(at));
}
void load_shared(u32 at, void* to, u32 bytes) {
  check_shared(at, bytes);
  note_read(at, bytes);
  banks.access(current->id / 32, current->id % 32, at, bytes);
  std::memcpy(to, &program().shared[at], bytes);
}
inline void write_shared(u32 at, const void* from, u32 bytes) {
  check_shared(at, bytes);
  note_write(program_index(), at, bytes, current->id, warp().epoch, current->clock);
  std::memcpy(&program().shared[at], from, bytes);
}
void store_shared(u32 at, const void* from, u32 bytes) {
  write_shared(at, from, bytes);
  banks.access(current->id / 32, current->id % 32, at, bytes);
}

inline size_t buffer_of(const void* p, u32 bytes) {
  if ((uintptr_t)p % bytes) fail("a misaligned access of global memory");
  for (size_t k = 0; k < buffers.size(); ++k)
    if ((u8*)p >= buffers[k].start && (u8*)p + bytes <= buffers[k].start + buffers[k].bytes) return k;
  fail("an access outside every buffer of global memory");
}
void load_global(const void* from, void* to, u32 bytes) {
  buffer_of(from, bytes);
  std::memcpy(to, from, bytes);
}
void store_global(void* to, const void* from, u32 bytes) {
  const size_t k = buffer_of(to, bytes);
  if (!buffers[k].output) fail(std::string("a write to the input ") + buffers[k].name);
  for (size_t at = (u8*)to - buffers[k].start, end = at + bytes; at < end; ++at) {
    if (written[k][at]) fail(std::string("a second write to an element of ") + buffers[k].name);
    written[k][at] = true;
  }
  std::memcpy(to, from, bytes);
}

void copy_ahead(u32 to, const void* from, u32 bytes) {
  Copy copy;
  copy.to = to, copy.bytes = bytes;
  load_global(from, copy.data, bytes);
  current->copies.push_back(copy);
}
void copy_wait() {
  for (const Copy& copy : current->copies) write_shared(copy.to, copy.data, copy.bytes);
  current->copies.clear();
}
}  // namespace emu
