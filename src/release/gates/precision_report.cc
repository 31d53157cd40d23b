#include "release/gates/precision_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/json_writer.h"
#include "base/xml_text.h"

namespace verdict {
namespace {

constexpr int64_t kFewPositives = 30;

template <typename... Args>
std::string Format(const char* format, Args... args) {
  std::array<char, 512> buffer;
  std::snprintf(buffer.data(), buffer.size(), format, args...);
  return buffer.data();
}

/// Without the sign of a nothing.
double Plain(double change) { return std::fabs(change) < 5e-6 ? 0.0 : change; }

/// "float32 0.98765  int8 0.98751  lost 0.00014 (95 %: -0.00003 to 0.00031)"
std::string Change(double before, double after, const Interval& difference,
                   const std::string& precision) {
  return Format("float32 %.5f  %s %.5f  lost %.5f (95 %%: %.5f to %.5f)", before, precision.c_str(),
                after, Plain(before - after), Plain(-difference.high), Plain(-difference.low));
}

std::string VerdictLine(const PrecisionReport& report) {
  const double drop = Plain(report.scores.auc_drop());
  return Format("%s: the ROC-AUC %s by %.5f, a fall of %.5g is allowed",
                report.passed ? "PASSED" : "FAILED", drop < 0 ? "rises" : "falls", std::fabs(drop),
                report.max_auc_drop);
}

/// The lines of the table but the last, as name and text.
std::vector<std::pair<std::string, std::string>> Rows(const PrecisionReport& report) {
  const ScoreComparison& scores = report.scores;
  std::vector<std::pair<std::string, std::string>> rows = {
      {"samples", Format("%lld, of which %lld are fraud%s", static_cast<long long>(scores.rows),
                         static_cast<long long>(scores.positives),
                         report.held_out ? "" : "; calibration saw them too")},
      {"ROC-AUC",
       Change(scores.baseline_auc, scores.candidate_auc, scores.auc_difference, report.precision)},
      {"PR-AUC", Change(scores.baseline_pr_auc, scores.candidate_pr_auc, scores.pr_auc_difference,
                        report.precision)},
  };
  for (const RecallAtFpr& recall : scores.recalls) {
    rows.emplace_back(Format("recall at FPR %g %%", 100 * recall.fpr),
                      Format("float32 %.4f  %s %.4f", recall.baseline, report.precision.c_str(),
                             recall.candidate));
  }
  rows.emplace_back(
      "scores",
      Format("KS distance %.5f, mean difference %.3g, largest %.3g", scores.kolmogorov_smirnov,
             scores.mean_difference,
             scores.worst.empty() ? 0.0
                                  : std::fabs(static_cast<double>(scores.worst[0].baseline) -
                                              static_cast<double>(scores.worst[0].candidate))));
  rows.emplace_back("decisions flipped",
                    Format("%lld at %.6g, float32's threshold for FPR 1 %%",
                           static_cast<long long>(scores.flipped), scores.threshold));
  const auto kept = std::ranges::count(report.layers, "float32", &LayerPrecision::precision);
  if (report.passed && -scores.auc_difference.low > report.max_auc_drop) {
    rows.emplace_back("note",
                      "the interval reaches beyond what is allowed: more samples would narrow it");
  }
  if (scores.positives < kFewPositives) {
    rows.emplace_back("note", "so few frauds show little: some hundred are sensible");
  }
  if (scores.baseline_auc < 0.5) {
    rows.emplace_back("note",
                      "float32 itself orders worse than chance: are labels or columns mixed up?");
  }
  if (!report.engine.empty()) rows.emplace_back("engine", report.engine);
  if (report.layers.empty()) return rows;  // of a device, which chooses them itself
  rows.emplace_back("layers", Format("%zu, of which %lld keep float32", report.layers.size(),
                                     static_cast<long long>(kept)));
  return rows;
}

std::string LayerText(const LayerPrecision& layer) {
  std::string text = layer.precision;
  if (!layer.observer.empty()) {
    text += Format(", clips at %.4g (%s)", layer.threshold, layer.observer.c_str());
  }
  if (layer.auc_drop) text += Format(", alone it loses %.5f", *layer.auc_drop);
  if (!layer.reason.empty()) text += ": " + layer.reason;
  return text;
}

constexpr double kWidth = 560, kHeight = 380, kLeft = 64, kRight = 20, kTop = 30, kBottom = 48;
// Of the two models, and of the two labels.
constexpr const char* kBaseline = "#1f5fbf";
constexpr const char* kCandidate = "#d0611b";
constexpr const char* kNegative = "#777";
constexpr const char* kPositive = "#b00020";

/// A plot's frame, title and the texts of its axes; coordinates run from 0 to 1.
class Plot {
 public:
  Plot(const std::string& title, const std::string& x, const std::string& y) {
    svg_ = Format("<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"%s\">", kWidth, kHeight,
                  title.c_str());
    Text(kWidth / 2, 18, "middle", title, 14);
    svg_ += Format(
        "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"none\" "
        "stroke=\"#999\"/>",
        kLeft, kTop, kWidth - kLeft - kRight, kHeight - kTop - kBottom);
    Text((kLeft + kWidth - kRight) / 2, kHeight - 8, "middle", x, 12);
    svg_ += Format(
        "<text transform=\"translate(14 %g) rotate(-90)\" text-anchor=\"middle\" "
        "font-size=\"12\">%s</text>",
        (kTop + kHeight - kBottom) / 2, y.c_str());
  }

  static double X(double share) { return kLeft + share * (kWidth - kLeft - kRight); }
  static double Y(double share) { return kHeight - kBottom - share * (kHeight - kTop - kBottom); }

  void Text(double x, double y, const char* anchor, const std::string& text, int size) {
    svg_ += Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">", x, y, anchor,
                   size) +
            text + "</text>";
  }
  void XTick(double share, const std::string& text) {
    Text(X(share), kHeight - kBottom + 16, "middle", text, 11);
  }
  void YTick(double share, const std::string& text) {
    Text(kLeft - 6, Y(share) + 4, "end", text, 11);
  }
  void Line(double x1, double y1, double x2, double y2, const char* colour, const char* dash = "") {
    svg_ += Format(
        "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
        "stroke-dasharray=\"%s\"/>",
        X(x1), Y(y1), X(x2), Y(y2), colour, dash);
  }
  void Dot(double x, double y, const char* colour) {
    svg_ += Format("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2\" fill=\"%s\" fill-opacity=\"0.4\"/>",
                   X(x), Y(y), colour);
  }
  void Bar(double from, double to, double bottom, double top, const char* colour) {
    svg_ += Format(
        "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" "
        "fill-opacity=\"0.75\"/>",
        X(from), Y(top), X(to) - X(from), Y(bottom) - Y(top), colour);
  }
  std::string Take() { return std::move(svg_) + "</svg>\n"; }

 private:
  std::string svg_;
};

/// Where a score lies between the least and the greatest.
double Share(const ScoreComparison& scores, double score) {
  const double width = scores.greatest - scores.least;
  return width > 0 ? std::clamp((score - scores.least) / width, 0.0, 1.0) : 0.5;
}

void ScoreTicks(const ScoreComparison& scores, Plot& plot, bool y_too) {
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    const std::string text =
        Format("%.3g", scores.least + share * (scores.greatest - scores.least));
    plot.XTick(share, text);
    if (y_too) plot.YTick(share, text);
  }
}

std::string Scatter(const PrecisionReport& report) {
  const ScoreComparison& scores = report.scores;
  Plot plot("Scores of the same rows", "float32", XmlText(report.precision));
  ScoreTicks(scores, plot, true);
  plot.Line(0, 0, 1, 1, "#999", "4 4");
  for (const RowDifference& row : scores.sample) {  // the positives come last, and lie above
    if (!std::isfinite(row.baseline) || !std::isfinite(row.candidate)) continue;
    plot.Dot(Share(scores, static_cast<double>(row.baseline)),
             Share(scores, static_cast<double>(row.candidate)),
             row.is_positive ? kPositive : kNegative);
  }
  plot.Text(kLeft + 8, kTop + 16, "start", "red: label 1, grey: label 0", 11);
  return plot.Take();
}

std::string Histograms(const PrecisionReport& report) {
  const ScoreComparison& scores = report.scores;
  Plot plot("Distribution of the scores", "score", "rows (log)");
  ScoreTicks(scores, plot, false);
  int64_t most = 1;
  for (const int64_t count : scores.baseline_bins) most = std::max(most, count);
  for (const int64_t count : scores.candidate_bins) most = std::max(most, count);
  const double decades = std::max(std::ceil(std::log10(static_cast<double>(most) + 1)), 1.0);
  const auto height = [&](int64_t count) {
    // One row is to be seen: counts begin at half a row.
    return count == 0 ? 0.0 : (std::log10(static_cast<double>(count)) + 0.3) / (decades + 0.3);
  };
  for (int decade = 0; decade <= static_cast<int>(decades); ++decade) {
    plot.YTick((decade + 0.3) / (decades + 0.3), Format("%g", std::pow(10.0, decade)));
  }
  constexpr double kBin = 1.0 / ScoreComparison::kBins;
  for (size_t bin = 0; bin < scores.baseline_bins.size(); ++bin) {
    const double at = static_cast<double>(bin) * kBin;
    plot.Bar(at, at + kBin / 2, 0, height(scores.baseline_bins[bin]), kBaseline);
    plot.Bar(at + kBin / 2, at + kBin, 0, height(scores.candidate_bins[bin]), kCandidate);
  }
  if (std::isfinite(scores.threshold)) {
    const double at = Share(scores, scores.threshold);
    plot.Line(at, 0, at, 1, "#000", "5 3");
  }
  plot.Text(kWidth - kRight - 8, kTop + 16, "end",
            "blue: float32, orange: " + XmlText(report.precision) + "; dashed: threshold", 11);
  return plot.Take();
}

/// Bars of what each layer loses alone; empty where that is not known.
std::string Sensitivity(const PrecisionReport& report) {
  double most = 1e-9;
  bool known = false;
  for (const LayerPrecision& layer : report.layers) {
    known = known || layer.auc_drop.has_value();
    most = std::max(most, std::fabs(layer.auc_drop.value_or(0)));
  }
  if (!known) return "";
  std::string html = "<h2>What each layer loses alone</h2>\n<table>\n";
  for (const LayerPrecision& layer : report.layers) {
    if (!layer.auc_drop) continue;
    const double drop = *layer.auc_drop;
    html += "<tr><td>" + XmlText(layer.name) + "</td><td>" + Format("%.5f", drop) +
            "</td><td><svg width=\"320\" height=\"12\">" +
            Format("<rect width=\"%.1f\" height=\"12\" fill=\"%s\"/></svg></td></tr>\n",
                   std::max(drop, 0.0) / most * 320,
                   layer.precision == "float32" ? kBaseline : kCandidate);
  }
  return html + "</table>\n<p>Blue: keeps float32.</p>\n";
}

void Write(const Interval& interval, JsonWriter& json) {
  json.BeginArray().Number(interval.low).Number(interval.high).EndArray();
}

}  // namespace

std::string ToJson(const PrecisionReport& report) {
  const ScoreComparison& scores = report.scores;
  JsonWriter json;
  json.BeginObject().Key("model").String(report.model);
  json.Key("precision").String(report.precision);
  if (!report.engine.empty()) json.Key("engine").String(report.engine);
  json.Key("rows_of").String(report.held_out ? "held-out" : "calibration");
  json.Key("verdict").String(report.passed ? "passed" : "failed");
  json.Key("max_auc_drop").Number(report.max_auc_drop);
  json.Key("auc_drop").Number(scores.auc_drop());
  json.Key("resamples").Int(scores.resamples);
  json.Key("rows").Int(scores.rows).Key("positives").Int(scores.positives);
  json.Key("roc_auc").BeginObject().Key("float32").Number(scores.baseline_auc);
  json.Key(report.precision).Number(scores.candidate_auc).Key("difference_95");
  Write(scores.auc_difference, json);
  json.EndObject().Key("pr_auc").BeginObject().Key("float32").Number(scores.baseline_pr_auc);
  json.Key(report.precision).Number(scores.candidate_pr_auc).Key("difference_95");
  Write(scores.pr_auc_difference, json);
  json.EndObject().Key("recall_at_fpr").BeginArray();
  for (const RecallAtFpr& recall : scores.recalls) {
    json.BeginObject().Key("fpr").Number(recall.fpr).Key("float32").Number(recall.baseline);
    json.Key(report.precision).Number(recall.candidate).EndObject();
  }
  json.EndArray().Key("ks").Number(scores.kolmogorov_smirnov);
  json.Key("mean_difference").Number(scores.mean_difference);
  json.Key("threshold").Number(scores.threshold).Key("decisions_flipped").Int(scores.flipped);
  json.Key("worst_rows").BeginArray();
  for (const RowDifference& row : scores.worst) {
    json.BeginObject().Key("row").Int(row.row);
    json.Key("float32").Number(static_cast<double>(row.baseline));
    json.Key(report.precision).Number(static_cast<double>(row.candidate));
    json.Key("label").Int(row.is_positive ? 1 : 0).EndObject();
  }
  json.EndArray().Key("layers").BeginArray();
  for (const LayerPrecision& layer : report.layers) {
    json.BeginObject().Key("name").String(layer.name).Key("op").String(layer.op);
    json.Key("precision").String(layer.precision);
    if (!layer.observer.empty()) json.Key("observer").String(layer.observer);
    if (layer.threshold > 0) json.Key("threshold").Number(layer.threshold);
    if (layer.auc_drop) json.Key("auc_drop").Number(*layer.auc_drop);
    if (!layer.reason.empty()) json.Key("reason").String(layer.reason);
    json.EndObject();
  }
  json.EndArray().EndObject();
  return json.text();
}

std::string ToTable(const PrecisionReport& report) {
  std::string text = "accuracy of " + report.model + " in " + report.precision + ":\n";
  for (const auto& [name, value] : Rows(report)) {
    text += Format("  %-20s ", name.c_str()) + value + "\n";
  }
  // All of them only where there was something to decide.
  if (std::ranges::any_of(report.layers, [&](const LayerPrecision& layer) {
        return layer.auc_drop.has_value() || layer.precision != report.precision;
      })) {
    for (const LayerPrecision& layer : report.layers) {
      text += "    " + layer.name + ": " + LayerText(layer) + "\n";
    }
  }
  return text + VerdictLine(report) + "\n";
}

std::string ToHtml(const PrecisionReport& report) {
  const std::string title = XmlText(report.model) + " in " + XmlText(report.precision);
  std::string html =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title +
      "</title>\n<style>body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;"
      "max-width:1180px;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
      "td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
      ".plots{display:flex;flex-wrap:wrap;gap:1em}.plots svg{flex:1 1 460px;max-width:580px}"
      ".verdict{font-weight:600;font-size:1.15em}</style></head><body>\n<h1>" +
      title + "</h1>\n<p class=\"verdict\">" + XmlText(VerdictLine(report)) + "</p>\n<table>\n";
  for (const auto& [name, value] : Rows(report)) {
    html += "<tr><th>" + XmlText(name) + "</th><td>" + XmlText(value) + "</td></tr>\n";
  }
  html += "</table>\n<div class=\"plots\">\n" + Scatter(report) + Histograms(report) + "</div>\n" +
          Sensitivity(report) + "<h2>Layers</h2>\n<table>\n";
  for (const LayerPrecision& layer : report.layers) {
    html += "<tr><td>" + XmlText(layer.name) + "</td><td>" + XmlText(layer.op) + "</td><td>" +
            XmlText(LayerText(layer)) + "</td></tr>\n";
  }
  html +=
      "</table>\n<h2>Rows that differ most</h2>\n<table>\n<tr><th>row</th><th>label</th>"
      "<th>float32</th><th>" +
      XmlText(report.precision) + "</th></tr>\n";
  for (const RowDifference& row : report.scores.worst) {
    html += Format("<tr><td>%lld</td><td>%d</td><td>%.7g</td><td>%.7g</td></tr>\n",
                   static_cast<long long>(row.row), row.is_positive ? 1 : 0,
                   static_cast<double>(row.baseline), static_cast<double>(row.candidate));
  }
  return html + "</table>\n</body></html>\n";
}

}  // namespace verdict
