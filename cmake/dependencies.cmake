# Debian 12's packages, each found here once. scripts/install-deps.sh installs them.
find_package(Threads REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(simdjson REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED COMPONENTS core)
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
pkg_check_modules(LIBHWY REQUIRED IMPORTED_TARGET libhwy)
if(VERDICT_TESTS)
  enable_testing()
  find_package(GTest REQUIRED)
endif()

add_custom_target(generated_sources)  # what clang-tidy needs, without compiling anything

# verdict_proto(NAME x PROTO file.proto IMPORT_DIR dir): the static library verdict_x with generated lite
# or full code. Generated code is compiled without our warnings.
function(verdict_proto)
  cmake_parse_arguments(ARG "" "NAME;PROTO;IMPORT_DIR" "" ${ARGN})
  set(out_dir ${CMAKE_BINARY_DIR}/generated/${ARG_NAME})
  get_filename_component(stem ${ARG_PROTO} NAME_WE)
  file(MAKE_DIRECTORY ${out_dir})
  add_custom_command(
    OUTPUT ${out_dir}/${stem}.pb.cc ${out_dir}/${stem}.pb.h
    COMMAND protobuf::protoc --proto_path=${ARG_IMPORT_DIR} --cpp_out=${out_dir} ${ARG_PROTO}
    DEPENDS ${ARG_PROTO})
  add_custom_target(verdict_${ARG_NAME}_generated DEPENDS ${out_dir}/${stem}.pb.h)
  add_dependencies(generated_sources verdict_${ARG_NAME}_generated)
  add_library(verdict_${ARG_NAME} STATIC ${out_dir}/${stem}.pb.cc)
  target_include_directories(verdict_${ARG_NAME} SYSTEM PUBLIC ${out_dir})
  target_link_libraries(verdict_${ARG_NAME} PUBLIC protobuf::libprotobuf)
  if(VERDICT_SANITIZE)
    target_compile_options(verdict_${ARG_NAME} PRIVATE -fsanitize=${VERDICT_SANITIZE})
  endif()
endfunction()
