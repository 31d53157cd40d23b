#pragma once

#include <CLI/App.hpp>
#include <string>

namespace verdict {

/// Adds --help-all, which shows also the options of the group without a name: --help fits a screen.
inline void AddHelpAll(CLI::App& app, const std::string& description) {
  app.add_flag_callback(
         "--help-all",
         [&app] {
           for (CLI::Option* option : app.get_options()) {
             if (option->get_group().empty()) option->group("More options");
           }
           throw CLI::CallForHelp();
         },
         description)
      ->trigger_on_parse();
}

}  // namespace verdict
