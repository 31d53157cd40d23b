#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "serve/admission/clients_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto table = verdict::ClientTable::Parse(text);
  // Nobody becomes admin by saying nothing.
  if (table.ok() && (*table)->anonymous().Has(verdict::Role::kAdmin)) std::abort();
  return 0;
}
