// The machine, compiled once for all variants of the kernel.
#include "schedule.h"

namespace emu {
int thread_id() { return current->id; }
int first_block() { return block0; }
int grid_blocks() { return blocks; }
}  // namespace emu
