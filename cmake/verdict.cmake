# One call a folder: verdict_library(NAME x SRCS … DEPS … [TESTS …] [FUZZ …] [PLUGINS]).
# NAME x makes the static library verdict_x from SRCS, the test program verdict_x_test from TESTS, and one
# libFuzzer program a file of FUZZ. PLUGINS: plugins link it too.

add_library(verdict_flags INTERFACE)
target_compile_options(verdict_flags INTERFACE -Wall -Wextra -Werror -Wno-missing-field-initializers
                       -fno-omit-frame-pointer
                       # Errors name the source line: src/…, wherever this was built.
                       -fmacro-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # False alarms of GCC 12 at -O3: "literal" + std::string (GCC bug 105651), vector::insert of bytes (105329).
  target_compile_options(verdict_flags INTERFACE -Wno-restrict -Wno-stringop-overflow)
endif()
target_include_directories(verdict_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
if(VERDICT_SANITIZE)
  target_compile_definitions(verdict_flags INTERFACE _GLIBCXX_ASSERTIONS)
  target_compile_options(verdict_flags INTERFACE -fsanitize=${VERDICT_SANITIZE}
                         -fno-sanitize-recover=all)
  target_link_options(verdict_flags INTERFACE -fsanitize=${VERDICT_SANITIZE})
endif()
if(VERDICT_FUZZ)
  target_compile_options(verdict_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(verdict_library)
  cmake_parse_arguments(ARG "PLUGINS" "NAME" "SRCS;DEPS;TESTS;TEST_DEPS;FUZZ" ${ARGN})
  add_library(verdict_${ARG_NAME} STATIC ${ARG_SRCS})
  target_link_libraries(verdict_${ARG_NAME} PUBLIC verdict_flags ${ARG_DEPS})
  if(ARG_PLUGINS)
    # Without interposition functions are inlined as in a program.
    set_target_properties(verdict_${ARG_NAME} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_compile_options(verdict_${ARG_NAME} PRIVATE -fno-semantic-interposition)
  endif()
  if(VERDICT_TESTS AND ARG_TESTS)
    verdict_test(NAME ${ARG_NAME} SRCS ${ARG_TESTS} DEPS verdict_${ARG_NAME} ${ARG_TEST_DEPS})
  endif()
  if(VERDICT_FUZZ)
    foreach(source ${ARG_FUZZ})
      get_filename_component(target ${source} NAME_WE)
      add_executable(${target} ${source})
      target_link_libraries(${target} PRIVATE verdict_${ARG_NAME})
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
      set_property(GLOBAL APPEND PROPERTY VERDICT_FUZZ_TARGETS ${target})
    endforeach()
  endif()
endfunction()

# verdict_test(NAME x SRCS … DEPS …): one GoogleTest program for a folder, registered with CTest as one test.
function(verdict_test)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  add_executable(verdict_${ARG_NAME}_test ${ARG_SRCS})
  target_link_libraries(verdict_${ARG_NAME}_test PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(verdict_${ARG_NAME}_test
                             PRIVATE VERDICT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(VERDICT_SANITIZE OR CMAKE_BUILD_TYPE STREQUAL Release)
    # The tests' own code is not what is tested; unoptimized it compiles in half the time there.
    target_compile_options(verdict_${ARG_NAME}_test PRIVATE -O0)
  endif()
  add_test(NAME ${ARG_NAME} COMMAND verdict_${ARG_NAME}_test)
  set_property(GLOBAL APPEND PROPERTY VERDICT_TEST_TARGETS verdict_${ARG_NAME}_test)
endfunction()
