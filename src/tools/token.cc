#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/unix_time.h"
#include "serve/admission/authenticator.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

struct Flags {
  std::string name;
  std::vector<std::string> roles = {"infer"};
  std::string expires;
};

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Status MakeEntry(const Flags& flags) {
  VERDICT_ASSIGN_OR_RETURN(const std::string token, MakeToken());
  std::string entry = "  - name: " + flags.name + "\n    sha256: " + ToHex(HashToken(token)) +
                      "\n    roles: [" + Joined(flags.roles) + "]\n";
  if (!flags.expires.empty()) entry += "    expires: " + flags.expires + "\n";
  // Read as the server will: what it would refuse is not printed.
  if (const auto table = ClientTable::Parse("tokens:\n" + entry); !table.ok()) {
    const std::string& message = table.status().message();
    return InvalidArgument(message.substr(message.find(": ") + 2));  // without a line number
  }
  std::printf(
      "%s\n\n# The line above is the token, shown this once: give it to the client. Below\n"
      "# `tokens:` in the clients file:\n%s",
      token.c_str(), entry.c_str());
  return OkStatus();
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.add_option("--name", flags->name, "whose it is: for logs, quotas and audit records")
      ->type_name("NAME")
      ->required();
  app.add_option("--roles", flags->roles, "of infer, admin, metrics; default infer")
      ->type_name("ROLE,…")
      ->delimiter(',')
      ->check(CLI::IsMember({"infer", "admin", "metrics"}).description(""));
  app.add_option("--expires", flags->expires,
                 "as 2027-06-30 or 2027-06-30T12:00:00Z; default never")
      ->type_name("TIME")
      ->check([](const std::string& text) -> std::string {
        const auto time = ParseExpiry(text);
        if (!time)
          return "'" + text + "' is no time as 2027-06-30T00:00:00Z, nor a day as 2027-06-30";
        return *time > UnixTime() ? "" : "'" + text + "' is over: no server would take the token";
      });
  return [flags] { return MakeEntry(*flags); };
}

}  // namespace

const Subcommand kTokenCommand = {
    .name = "token",
    .summary = "Makes a client's token and its file entry.",
    .example = "  verdict token --name checkout --roles infer,metrics --expires 2027-06-30",
    .declare = Declare,
};

}  // namespace verdict
