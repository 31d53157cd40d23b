#pragma once

#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace verdict {

/// The canonical gRPC status codes, with gRPC's numbers.
enum class StatusCode : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// The name as gRPC writes it, for example "INVALID_ARGUMENT".
std::string_view StatusCodeName(StatusCode code);

/// Outcome of an operation. The message is for the user: what is wrong, where, and what to do.
/// `place` is the source line that made the error, for logs.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message,
         std::source_location place = std::source_location::current())
      : code_(code), message_(std::move(message)), place_(place) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::source_location& place() const { return place_; }

  /// The same error with `context` and ": " before its message; an OK status stays as it is.
  Status WithContext(std::string_view context) const;

  /// "OK" or "INVALID_ARGUMENT: message".
  std::string ToString() const;

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
  std::source_location place_;
};

inline Status OkStatus() { return {}; }

// One maker per code in use: InvalidArgument("tensor 'x': …").
#define VERDICT_STATUS_MAKER(name)                                                   \
  inline Status name(std::string message,                                            \
                     std::source_location place = std::source_location::current()) { \
    return Status(StatusCode::k##name, std::move(message), place);                   \
  }
VERDICT_STATUS_MAKER(Cancelled)
VERDICT_STATUS_MAKER(InvalidArgument)
VERDICT_STATUS_MAKER(DeadlineExceeded)
VERDICT_STATUS_MAKER(NotFound)
VERDICT_STATUS_MAKER(AlreadyExists)
VERDICT_STATUS_MAKER(PermissionDenied)
VERDICT_STATUS_MAKER(ResourceExhausted)
VERDICT_STATUS_MAKER(FailedPrecondition)
VERDICT_STATUS_MAKER(OutOfRange)
VERDICT_STATUS_MAKER(Unimplemented)
VERDICT_STATUS_MAKER(Internal)
VERDICT_STATUS_MAKER(Unavailable)
VERDICT_STATUS_MAKER(DataLoss)
VERDICT_STATUS_MAKER(Unauthenticated)
#undef VERDICT_STATUS_MAKER

/// Ends the process with a message: only for our own bugs, never for bad input.
[[noreturn]] void CheckFailed(const char* expression, std::source_location place);

#define VERDICT_CHECK(condition)                                           \
  do {                                                                     \
    if (!(condition)) [[unlikely]]                                         \
      ::verdict::CheckFailed(#condition, std::source_location::current()); \
  } while (false)

/// A value or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  // NOLINTBEGIN(google-explicit-constructor,performance-unnecessary-value-param): both convert, so
  // that a function can return either.
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { VERDICT_CHECK(!status_.ok()); }
  // NOLINTEND(google-explicit-constructor,performance-unnecessary-value-param)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }

  T& value() & {
    VERDICT_CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    VERDICT_CHECK(ok());
    return *value_;
  }
  T&& value() && {
    VERDICT_CHECK(ok());
    return *std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

#define VERDICT_CONCAT_INNER(a, b) a##b
#define VERDICT_CONCAT(a, b) VERDICT_CONCAT_INNER(a, b)

/// Returns from the calling function if `expression` is an error.
#define VERDICT_RETURN_IF_ERROR(expression)                                    \
  do {                                                                         \
    if (::verdict::Status verdict_status = (expression); !verdict_status.ok()) \
      return verdict_status;                                                   \
  } while (false)

/// VERDICT_ASSIGN_OR_RETURN(auto x, MakeX()): x is the value, or the function returns the error.
#define VERDICT_ASSIGN_OR_RETURN(target, expression) \
  VERDICT_ASSIGN_OR_RETURN_INNER(VERDICT_CONCAT(verdict_result_, __LINE__), target, expression)
#define VERDICT_ASSIGN_OR_RETURN_INNER(result, target, expression) \
  auto result = (expression);                                      \
  if (!result.ok()) return result.status();                        \
  target = *std::move(result)

}  // namespace verdict
