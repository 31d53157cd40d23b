#include "backends/tensorrt/drill_kernels.h"

namespace verdict::tensorrt {

// In verdict_hang one thread of a block looks at the clock; the others hold their places at the
// barrier.
const char kDrillKernels[] = R"(.version 6.0
.target sm_70
.address_size 64

.visible .entry verdict_trap()
{
  trap;
  ret;
}

.visible .entry verdict_hang(.param .u64 flag, .param .u64 nanoseconds)
{
  .reg .pred %p<4>;
  .reg .b32 %r<3>;
  .reg .b64 %rd<7>;
  mov.u32 %r1, %tid.x;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra DONE;
  ld.param.u64 %rd1, [flag];
  ld.param.u64 %rd2, [nanoseconds];
  cvta.to.global.u64 %rd3, %rd1;
  mov.u64 %rd4, %globaltimer;
SPIN:
  ld.volatile.global.u32 %r2, [%rd3];
  setp.ne.u32 %p2, %r2, 0;
  @%p2 bra DONE;
  mov.u64 %rd5, %globaltimer;
  sub.u64 %rd6, %rd5, %rd4;
  setp.lt.u64 %p3, %rd6, %rd2;
  @%p3 bra SPIN;
DONE:
  bar.sync 0;
  ret;
}
)";

}  // namespace verdict::tensorrt
