#pragma once

#include <CLI/App.hpp>
#include <CLI/Formatter.hpp>
#include <string>
#include <utility>
#include <vector>

namespace verdict {

/// The group of the options that --help leaves out, so that it fits a screen. Not CLI11's group
/// without a name: errors would not name such an option either.
inline constexpr const char* kRareOptions = "Rare options";

/// Adds --help-all, which shows also the rare options.
inline void AddHelpAll(CLI::App& app, const std::string& description) {
  app.add_flag_callback(
         "--help-all",
         [&app] {
           for (CLI::Option* option : app.get_options()) {
             if (option->get_group() == kRareOptions) option->group("More options");
           }
           throw CLI::CallForHelp();
         },
         description)
      ->trigger_on_parse();
}

/// Shows all groups but that of the rare options, and no two empty lines in a row.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_group(std::string group, bool is_positional,
                         std::vector<const CLI::Option*> options) const override {
    if (group == kRareOptions) return "";
    return Formatter::make_group(std::move(group), is_positional, std::move(options));
  }
  std::string make_help(const CLI::App* app, std::string name,
                        CLI::AppFormatMode mode) const override {
    std::string text = Formatter::make_help(app, std::move(name), mode);
    for (size_t at; (at = text.find("\n\n\n")) != std::string::npos;) text.erase(at, 1);
    return text;
  }
};

}  // namespace verdict
