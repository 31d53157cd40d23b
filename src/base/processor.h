#pragma once

#include <string>

namespace verdict {

/// This machine's processor as /proc/cpuinfo names it, for example "AMD EPYC, family 25, model 17";
/// "unknown" where there is none. Threads: any; read once.
const std::string& ProcessorName();

}  // namespace verdict
