#include "tools/samples/sample_rows.h"

#include <algorithm>
#include <utility>

#include "tools/npy.h"

namespace verdict {
namespace {

/// Calls move(from, to, count) for each run of elements that stays together when the batch extent
/// goes from the front to `axis`; the numbers count elements.
template <typename Move>
void ForEachRun(const Shape& row, int axis, int64_t rows, const Move& move) {
  int64_t outer = 1;
  int64_t inner = 1;
  for (int i = 0; i < row.rank(); ++i) (i < axis ? outer : inner) *= row[i];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < outer; ++o) {
      move((r * outer + o) * inner, (o * rows + r) * inner, inner);
    }
  }
}

}  // namespace

SampleRows::SampleRows(const SampleLayout& layout, bool allow_nan)
    : layout_(layout), allow_nan_(allow_nan), columns_(layout.inputs().size()) {}

Status SampleRows::AddNumber(size_t input, const Number& number) {
  const DataType dtype = layout_.inputs()[input].dtype;
  std::byte element[sizeof(uint64_t)];
  VERDICT_RETURN_IF_ERROR(StoreNumber(number, dtype, allow_nan_, element));
  std::vector<std::byte>& elements = columns_[input].elements;
  elements.insert(elements.end(), element, element + ElementSize(dtype));
  return OkStatus();
}

Status SampleRows::AddString(size_t input, std::string_view text) {
  const DataType dtype = layout_.inputs()[input].dtype;
  if (dtype != DataType::kString) {
    return InvalidArgument("text " + Excerpt(text) + ", the model takes " +
                           std::string(NumpyName(dtype)));
  }
  columns_[input].strings.emplace_back(text);
  return OkStatus();
}

Status SampleRows::AddText(size_t input, std::string_view text) {
  const DataType dtype = layout_.inputs()[input].dtype;
  if (dtype == DataType::kString) return AddString(input, text);
  if (dtype == DataType::kBool) {
    if (text == "true" || text == "True" || text == "TRUE") return AddNumber(input, int64_t{1});
    if (text == "false" || text == "False" || text == "FALSE") return AddNumber(input, int64_t{0});
  }
  VERDICT_ASSIGN_OR_RETURN(const Number number, ParseNumber(text));
  return AddNumber(input, number);
}

Result<Samples> SampleRows::Finish(int64_t rows) && {
  Samples samples;
  samples.rows = rows;
  samples.labels = std::move(labels_);
  if (rows == 0) return samples;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const SampleInput& input = layout_.inputs()[i];
    Column& column = columns_[i];
    Shape shape;
    for (int axis = 0; axis < input.row.rank(); ++axis) {
      if (axis == input.axis) shape.push_back(rows);
      shape.push_back(input.row[axis]);
    }
    if (input.axis == input.row.rank()) shape.push_back(rows);
    VERDICT_ASSIGN_OR_RETURN(const size_t bytes, ByteSize(input.dtype, shape));
    const size_t size = ElementSize(input.dtype);
    const bool is_string = input.dtype == DataType::kString;
    VERDICT_CHECK((is_string ? column.strings.size() * size : column.elements.size()) == bytes);

    if (is_string) {
      std::vector<std::string> strings(column.strings.size());
      if (bytes > 0) {
        ForEachRun(input.row, input.axis, rows, [&](int64_t from, int64_t to, int64_t count) {
          std::move(column.strings.begin() + from, column.strings.begin() + from + count,
                    strings.begin() + to);
        });
      }
      samples.inputs.push_back(Constant::OfStrings(shape, std::move(strings)));
      continue;
    }
    auto [tensor, data] = Constant::Allocate(input.dtype, shape);
    if (bytes > 0) {
      ForEachRun(
          input.row, input.axis, rows,
          [&, to_bytes = static_cast<std::byte*>(data)](int64_t from, int64_t to, int64_t count) {
            const auto width = static_cast<int64_t>(size);
            std::copy_n(column.elements.begin() + from * width, count * width,
                        to_bytes + to * width);
          });
    }
    samples.inputs.push_back(std::move(tensor));
  }
  return samples;
}

}  // namespace verdict
