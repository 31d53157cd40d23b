#include <cinttypes>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/terminal_text.h"
#include "base/unix_time.h"
#include "release/repository/collect_garbage.h"
#include "release/repository/publish.h"
#include "release/repository/repository.h"
#include "release/repository/verify_version.h"
#include "tools/subcommand.h"

namespace verdict {
namespace {

struct Flags {
  std::string repository, engine, model, sign_key, metadata;
  int64_t version = 0;
  std::vector<std::string> trusted_keys, pinned;
  bool require_manifest = false;
  uint32_t keep = 0;
  bool dry_run = false;
};

Status RunPublish(const Flags& flags) {
  Publication publication;
  publication.engine = flags.engine;
  publication.repository = flags.repository;
  publication.model = flags.model;
  publication.version = flags.version;
  publication.tool = "verdict " VERDICT_VERSION;
  if (!flags.metadata.empty()) {
    VERDICT_ASSIGN_OR_RETURN(publication.metadata,
                             ReadSmallFile(flags.metadata, kMaxManifestBytes / 2));
  }
  if (!flags.sign_key.empty()) {
    VERDICT_ASSIGN_OR_RETURN(publication.key, SigningKey::Load(flags.sign_key));
  }
  VERDICT_ASSIGN_OR_RETURN(const int64_t version, Publish(publication));
  std::printf("published %s version %" PRId64 "%s\n", flags.model.c_str(), version,
              publication.key ? (", signed by key " + publication.key->id()).c_str() : "");
  return OkStatus();
}

/// Prints a line a version. Errors: kDataLoss if one is refused and `strict`.
Status PrintVersions(const Flags& flags, bool strict) {
  VERDICT_ASSIGN_OR_RETURN(const VersionTrust trust,
                           VersionTrust::Load(flags.require_manifest, flags.trusted_keys));
  VERDICT_ASSIGN_OR_RETURN(const RepositoryListing listing, ListRepository(flags.repository));
  size_t refused = 0, found = 0;
  for (const ModelFolder& model : listing.models) {
    if (!flags.model.empty() && model.name != flags.model) continue;
    for (const VersionFile& file : model.versions) {
      ++found;
      const auto verified = VerifyVersion(file.engine.parent_path(), trust);
      std::string state = "no manifest";
      if (!verified.ok()) {
        ++refused;
        state = "refused: " + verified.status().message();
      } else if (verified->has_value()) {
        state =
            "verified, made " + (*verified)->manifest.created + " by " + (*verified)->manifest.tool;
        if (!(*verified)->key_id.empty()) state += ", signed by key " + (*verified)->key_id;
      }
      std::printf("%s %" PRId64 "  %s\n", model.name.c_str(), file.version,
                  TerminalText(state).c_str());
    }
  }
  for (const std::string& line : listing.ignored) {
    std::fprintf(stderr, "ignored: %s\n", TerminalText(line).c_str());
  }
  if (!flags.model.empty() && found == 0) {
    return NotFound(flags.repository + ": has no model '" + flags.model + "'");
  }
  if (strict && refused > 0) {
    return DataLoss(std::to_string(refused) + " of " + std::to_string(found) +
                    " versions would be refused; see above");
  }
  return OkStatus();
}

Status RunGc(const Flags& flags) {
  GarbageOptions options;
  options.keep = flags.keep;
  options.dry_run = flags.dry_run;
  options.now = UnixTime();
  VERDICT_ASSIGN_OR_RETURN(options.trust,
                           VersionTrust::Load(flags.require_manifest, flags.trusted_keys));
  for (const std::string& pin : flags.pinned) {
    const size_t slash = pin.find('/');
    const std::string model = pin.substr(0, slash);
    const auto version = ParseVersion(slash == std::string::npos ? "" : pin.substr(slash + 1));
    if (!CheckModelName(model).ok() || !version.ok()) {
      return InvalidArgument("--pin '" + pin + "' is not MODEL/VERSION");
    }
    options.pinned.emplace(model, *version);
  }
  VERDICT_ASSIGN_OR_RETURN(const auto removed, CollectGarbage(flags.repository, options));
  for (const auto& folder : removed) {
    std::printf("%s %s\n", flags.dry_run ? "would remove" : "removed",
                TerminalText(folder.string()).c_str());
  }
  return OkStatus();
}

void AddRepository(CLI::App& app, Flags* flags) {
  app.add_option("--repository", flags->repository, "folder of <model>/<version>/")
      ->type_name("DIR")
      ->required();
}

void AddTrust(CLI::App& app, Flags* flags) {
  app.add_option("--trusted-key", flags->trusted_keys,
                 "public key in PEM; versions must be signed by one")
      ->type_name("FILE");
  app.add_flag("--require-manifest", flags->require_manifest, "refuse versions without manifest");
}

std::function<Status()> Declare(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  app.require_subcommand(1);
  auto* publish = app.add_subcommand("publish", "Adds a version, whole or not at all.");
  publish->add_option("engine", flags->engine, "engine file")->type_name("ENGINE")->required();
  AddRepository(*publish, flags.get());
  publish->add_option("--model", flags->model, "its name")->type_name("NAME")->required();
  publish->add_option("--version", flags->version, "default: the next free one")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, INT64_MAX).description(""));
  publish->add_option("--sign-key", flags->sign_key, "Ed25519 private key in PEM")
      ->type_name("FILE");
  publish->add_option("--metadata", flags->metadata, "JSON object for the manifest")
      ->type_name("FILE");
  auto* list = app.add_subcommand("list", "Shows the versions.");
  auto* verify = app.add_subcommand("verify", "The same; fails if one is refused.");
  for (CLI::App* command : {list, verify}) {
    AddRepository(*command, flags.get());
    command->add_option("--model", flags->model, "only this one")->type_name("NAME");
    AddTrust(*command, flags.get());
  }
  auto* gc = app.add_subcommand("gc", "Removes old versions and abandoned uploads.");
  AddRepository(*gc, flags.get());
  gc->add_option("--keep", flags->keep, "how many versions that verify stay, of each model")
      ->type_name("N")
      ->required()
      ->check(CLI::Range(1, 1'000'000).description(""));
  gc->add_option("--pin", flags->pinned, "these stay too")->type_name("MODEL/VERSION");
  gc->add_flag("--dry-run", flags->dry_run, "only say what would go");
  AddTrust(*gc, flags.get());
  return [flags, publish, list, verify] {
    if (publish->parsed()) return RunPublish(*flags);
    if (list->parsed() || verify->parsed()) return PrintVersions(*flags, verify->parsed());
    return RunGc(*flags);
  };
}

}  // namespace

const Subcommand kRepositoryCommand = {
    .name = "repository",
    .summary = "Publishes, lists, verifies and removes versions.",
    .example =
        "  verdict repository publish fraud.engine --repository models --model fraud\n"
        "  verdict repository gc --repository models --keep 3 --dry-run",
    .declare = Declare,
};

}  // namespace verdict
