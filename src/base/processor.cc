#include "base/processor.h"

#include <fstream>

namespace verdict {
namespace {

std::string Read() {
  std::ifstream file("/proc/cpuinfo");
  std::string name, family, model, line;
  while (std::getline(file, line) && !line.empty()) {  // the first processor's block
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of("\t ", colon - 1) + 1);
    const std::string value = line.substr(colon + 2);
    if (key == "model name") name = value;
    if (key == "cpu family") family = ", family " + value;
    if (key == "model") model = ", model " + value;
  }
  return name.empty() ? "unknown" : name + family + model;
}

}  // namespace

const std::string& ProcessorName() {
  static const std::string name = Read();
  return name;
}

}  // namespace verdict
