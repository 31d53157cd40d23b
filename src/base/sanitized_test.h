#pragma once

// VERDICT_SANITIZED: this is built for a sanitizer that brings its own malloc and operators new.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // gcc
#define VERDICT_SANITIZED
#elif defined(__has_feature)  // clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VERDICT_SANITIZED
#endif
#endif
