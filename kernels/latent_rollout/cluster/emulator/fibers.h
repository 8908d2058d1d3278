// Threads of execution on one CPU thread, switched by hand: a switch saves what the calling convention keeps.
#pragma once
#include <sys/mman.h>

#include <cstddef>

#if defined(__x86_64__) && !defined(PORTABLE_FIBERS)
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.globl emulator_switch
.type emulator_switch,@function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace emu {
using Fiber = void*;  // its stack pointer
inline void switch_fiber(Fiber& from, Fiber& to) { emulator_switch(&from, to); }
inline void make_fiber(Fiber& fiber, char* stack, size_t size, void (*entry)()) {
  void** top = (void**)(stack + size);
  *--top = nullptr;  // entry never returns
  *--top = (void*)entry;
  for (int k = 0; k < 6; ++k) *--top = nullptr;
  fiber = top;
}
}  // namespace emu
#else
#include <ucontext.h>

namespace emu {  // portable, and slower: each switch asks the kernel
using Fiber = ucontext_t;
inline void switch_fiber(Fiber& from, Fiber& to) { swapcontext(&from, &to); }
inline void make_fiber(Fiber& fiber, char* stack, size_t size, void (*entry)()) {
  getcontext(&fiber);
  fiber.uc_stack.ss_sp = stack, fiber.uc_stack.ss_size = size, fiber.uc_link = nullptr;
  makecontext(&fiber, entry, 0);
}
}  // namespace emu
#endif

namespace emu {
struct Stacks {  // memory that costs nothing until it is touched
  static constexpr size_t SIZE = 64 << 10;
  char* memory;
  size_t bytes;
  explicit Stacks(int count) : bytes(SIZE * count) {
    memory = (char*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  ~Stacks() { munmap(memory, bytes); }
  char* at(int k) const { return memory + SIZE * k; }
};
}  // namespace emu
