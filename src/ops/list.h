#pragma once

// Every operator's constant, in the order of its file. Add yours here and in list.cc.
#include "ops/op.h"

namespace verdict {

extern const OpDef kIdentityOp;

}  // namespace verdict
