#include "tools/samples/npz_samples.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "config/nearest_name.h"
#include "tools/npy.h"
#include "tools/samples/labels.h"

namespace verdict {
namespace {

/// The array of that name. Errors: there is none.
Result<Constant> Find(const NamedTensors& arrays, const std::string& name,
                      const std::string& what) {
  if (const auto it = arrays.find(name); it != arrays.end()) return it->second;
  std::vector<std::string> names;
  std::string list;
  for (const auto& [other, array] : arrays) {
    names.push_back(other);
    list += (list.empty() ? "" : ", ") + Excerpt(other);
  }
  return InvalidArgument("there is no array " + Excerpt(name) + " for " + what +
                         DidYouMean(name, names) + "; the file has " +
                         (list.empty() ? "none" : list));
}

/// Where samples are counted in an array of the file.
int AxisInFile(const SampleInput& input) { return std::max(input.axis, 0); }

/// Checks that an array suits its input; binds what that leaves open. Returns: its samples.
Result<int64_t> CheckArray(const Constant& array, size_t index, SampleLayout* layout) {
  const SampleInput& input = layout->inputs()[index];
  const std::string what = "array '" + input.name + "' is " + std::string(NumpyName(array.dtype)) +
                           " " + ToString(array.shape);
  if ((array.dtype == DataType::kString) != (input.dtype == DataType::kString)) {
    return InvalidArgument(
        what + ", the model takes " + input.model_has + "; save " + input.name + ".astype('" +
        (input.dtype == DataType::kString ? std::string("U")
                                          : std::string(NumpyName(input.dtype))) +
        "')");
  }
  const int axis = AxisInFile(input);
  if (axis >= array.shape.rank()) {
    return InvalidArgument(what + ", the model takes " + input.model_has +
                           (layout->one_a_run() ? ", one sample a run: put an extent that counts "
                                                  "samples in front"
                                                : ""));
  }
  std::vector<int64_t> sample;
  for (int i = 0; i < array.shape.rank(); ++i) {
    if (i != axis) sample.push_back(array.shape[i]);
  }
  if (Status status = layout->BindExtents(index, sample); !status.ok()) {
    return status.WithContext(what);
  }
  return array.shape[axis];
}

class NpzSamples final : public RowSource {
 public:
  /// arrays: one per input. labels: one per sample, or empty.
  NpzSamples(std::vector<Constant> arrays, std::vector<float> labels, int64_t count,
             std::string file, SampleLayout layout, const SampleOptions& options)
      : RowSource(std::move(layout), options),
        arrays_(std::move(arrays)),
        labels_(std::move(labels)),
        count_(count),
        file_(std::move(file)) {}

  bool has_labels() const override { return !labels_.empty(); }
  Status Rewind() override {
    next_ = 0;
    return OkStatus();
  }

 private:
  Result<bool> NextRow(SampleRows* rows) override {
    if (next_ == count_) return false;
    for (size_t i = 0; i < arrays_.size(); ++i) {
      if (Status status = AddSample(i, rows); !status.ok()) {
        return status.WithContext(file_ + ", sample " + std::to_string(next_) +
                                  " (counted from 0): input '" + layout_.inputs()[i].name + "'");
      }
    }
    if (has_labels()) rows->AddLabel(labels_[static_cast<size_t>(next_)]);
    ++next_;
    return true;
  }

  /// The values of sample next_ in one array.
  Status AddSample(size_t index, SampleRows* rows) {
    const SampleInput& input = layout_.inputs()[index];
    const TensorView array = arrays_[index].view();
    int64_t outer = 1;
    int64_t inner = 1;
    for (int axis = 0; axis < input.row.rank(); ++axis) {
      (axis < AxisInFile(input) ? outer : inner) *= input.row[axis];
    }
    for (int64_t position = 0; position < outer * inner; ++position) {
      const int64_t at = (position / inner * count_ + next_) * inner + position % inner;
      Status status =
          array.dtype == DataType::kString
              ? rows->AddString(index, array.as<const std::string_view>()[static_cast<size_t>(at)])
              : rows->AddNumber(index, NumberAt(array, at));
      if (!status.ok()) return status.WithContext("value " + std::to_string(position));
    }
    return OkStatus();
  }

  std::vector<Constant> arrays_;
  std::vector<float> labels_;
  int64_t count_;
  std::string file_;
  int64_t next_ = 0;
};

Result<std::unique_ptr<SampleSource>> Open(const NamedTensors& arrays, const std::string& file,
                                           SampleLayout layout, const SampleOptions& options) {
  std::vector<Constant> inputs;
  int64_t count = 0;
  for (size_t i = 0; i < layout.inputs().size(); ++i) {
    const SampleInput& input = layout.inputs()[i];
    VERDICT_ASSIGN_OR_RETURN(Constant array,
                             Find(arrays, input.name, "an input (" + input.model_has + ")"));
    VERDICT_ASSIGN_OR_RETURN(const int64_t samples, CheckArray(array, i, &layout));
    if (i > 0 && samples != count) {
      return InvalidArgument("array '" + input.name + "' has " + std::to_string(samples) +
                             " samples, '" + layout.inputs().front().name + "' has " +
                             std::to_string(count));
    }
    count = samples;
    inputs.push_back(std::move(array));
  }
  std::vector<float> labels;
  const bool has_array = !options.label.empty() && arrays.contains(options.label);
  if (options.label_required || (has_array && !options.label_ignored)) {
    VERDICT_ASSIGN_OR_RETURN(const Constant array, Find(arrays, options.label, "the labels"));
    VERDICT_ASSIGN_OR_RETURN(labels, LabelsOf(array));
    if (static_cast<int64_t>(labels.size()) != count) {
      return InvalidArgument("array " + Excerpt(options.label) + " has " +
                             std::to_string(labels.size()) + " labels for " +
                             std::to_string(count) + " samples");
    }
  }
  return std::unique_ptr<SampleSource>(std::make_unique<NpzSamples>(
      std::move(inputs), std::move(labels), count, file, std::move(layout), options));
}

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenNpzSamples(NamedTensors arrays, const std::string& file,
                                                     SampleLayout layout,
                                                     const SampleOptions& options) {
  auto source = Open(arrays, file, std::move(layout), options);
  if (!source.ok()) return source.status().WithContext(file);
  return source;
}

}  // namespace verdict
