# Turns files into C strings at build time, so that SQL stands in .sql files and pages in .html
# files only, and the binary needs no files at run time.
#
#   embed_sql(TARGET): the .sql files of this folder, as schema/schema.h
#     NNN_*.sql     migrations, numbered from 001 without gaps -> schema_migrations[]
#     queries.sql   `-- name: x` starts the query QUERY_X      -> schema_queries[]
#   embed_text(TARGET FOLDER/NAME.EXT): one file below service/, as FOLDER/NAME_EXT.h -> NAME_EXT[]
#
# Both run this file as a script (cmake -D OUT=dir [-D TEXT=file] -P), which writes the .h and .c
# into OUT, a folder of the build tree.

# Compiles `name`.h and .c, which this file makes of `sources`, into `target`.
function(embed target name sources)
  cmake_parse_arguments(EMBED "" "" "WITH" ${ARGN})
  set(here ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  set(generated ${CMAKE_BINARY_DIR}/generated)
  get_filename_component(out ${generated}/${name} DIRECTORY)
  add_custom_command(
    OUTPUT ${generated}/${name}.h ${generated}/${name}.c
    COMMAND ${CMAKE_COMMAND} -D OUT=${out} ${EMBED_WITH} -P ${here}/embed.cmake
    DEPENDS ${sources} ${here}/embed.cmake
    COMMENT "Embedding ${name}" VERBATIM)
  target_sources(${target} PRIVATE ${generated}/${name}.c ${generated}/${name}.h)
  target_include_directories(${target} PRIVATE ${generated})
endfunction()

function(embed_sql target)
  file(GLOB sql CONFIGURE_DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/*.sql)
  embed(${target} schema/schema "${sql}")
endfunction()

function(embed_text target file)
  string(REPLACE "." "_" name ${file})
  set(text ${CMAKE_SOURCE_DIR}/service/${file})
  embed(${target} ${name} ${text} WITH -D TEXT=${text})
endfunction()

# A C string literal of `text`, one line of source per line.
function(c_literal text ret)
  string(REPLACE "\\" "\\\\" text "${text}")
  string(REPLACE "\"" "\\\"" text "${text}")
  string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
  set(${ret} "\"${text}\"" PARENT_SCOPE)
endfunction()

# ret_names and ret_literals are filled with the queries of `file`, in order.
function(read_queries file ret_names ret_literals)
  file(READ ${file} rest)
  set(marker "\n-- name: ")
  string(LENGTH "${marker}" marker_length)
  set(names "")
  set(literals "")
  string(FIND "${rest}" "${marker}" at)
  while(NOT at EQUAL -1)
    math(EXPR at "${at} + ${marker_length}")
    string(SUBSTRING "${rest}" ${at} -1 rest)
    string(FIND "${rest}" "\n" line_end)
    string(SUBSTRING "${rest}" 0 ${line_end} name)
    if(NOT name MATCHES "^[a-z_]+$")
      message(FATAL_ERROR "${file}: '-- name: ${name}' must be lower-case letters and _")
    endif()
    string(FIND "${rest}" "${marker}" at)
    string(SUBSTRING "${rest}" ${line_end} -1 query)
    if(NOT at EQUAL -1)
      math(EXPR query_length "${at} - ${line_end}")
      string(SUBSTRING "${rest}" ${line_end} ${query_length} query)
    endif()
    string(STRIP "${query}" query)
    c_literal("${query}" literal)
    string(TOUPPER QUERY_${name} constant)
    string(APPEND names "    ${constant},\n")
    string(APPEND literals "    [${constant}] =\n    ${literal},\n")
  endwhile()
  set(${ret_names} "${names}" PARENT_SCOPE)
  set(${ret_literals} "${literals}" PARENT_SCOPE)
endfunction()

# Their count and literals, checked to be numbered from 001 without gaps.
function(read_migrations files ret_count ret_literals)
  set(count 0)
  set(literals "")
  foreach(file ${files})
    math(EXPR count "${count} + 1")
    get_filename_component(name ${file} NAME)
    string(SUBSTRING ${name} 0 3 number)
    math(EXPR expected "${count} + 1000")
    if(NOT "1${number}" STREQUAL "${expected}")
      message(FATAL_ERROR "${file}: migration ${count} is missing, or there are two")
    endif()
    file(READ ${file} text)
    if(NOT text MATCHES "PRAGMA user_version = ${count};")
      message(FATAL_ERROR "${file}: does not end with PRAGMA user_version = ${count};")
    endif()
    c_literal("${text}" literal)
    string(APPEND literals "    /* ${name} */\n    ${literal},\n")
  endforeach()
  set(${ret_count} ${count} PARENT_SCOPE)
  set(${ret_literals} "${literals}" PARENT_SCOPE)
endfunction()

function(write_schema)
  file(GLOB migrations ${CMAKE_CURRENT_LIST_DIR}/[0-9][0-9][0-9]_*.sql)
  list(SORT migrations)
  read_migrations("${migrations}" count migration_literals)
  read_queries(${CMAKE_CURRENT_LIST_DIR}/queries.sql names query_literals)
  file(WRITE ${OUT}/schema.h
"/* Made by schema/embed.cmake from the .sql files beside it. */
#ifndef SCHEMA_SCHEMA_H
#define SCHEMA_SCHEMA_H

enum { SCHEMA_VERSION = ${count} };
/* Migration i brings a file of user_version i to i + 1. */
extern const char *const schema_migrations[SCHEMA_VERSION];

enum query {
${names}    QUERY_COUNT
};
extern const char *const schema_queries[QUERY_COUNT];

#endif
")
  file(WRITE ${OUT}/schema.c
"#include \"schema.h\"

const char *const schema_migrations[SCHEMA_VERSION] = {
${migration_literals}};

const char *const schema_queries[QUERY_COUNT] = {
${query_literals}};
")
endfunction()

function(write_text)
  get_filename_component(file ${TEXT} NAME)
  string(REPLACE "." "_" name ${file})
  string(TOUPPER ${name} guard)
  file(READ ${TEXT} text)
  c_literal("${text}" literal)
  file(WRITE ${OUT}/${name}.h
"/* Made by schema/embed.cmake from ${file}. */
#ifndef ${guard}_H
#define ${guard}_H

extern const char ${name}[];

#endif
")
  file(WRITE ${OUT}/${name}.c
"#include \"${name}.h\"

const char ${name}[] =
    ${literal};
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE AND DEFINED TEXT)
  write_text()
elseif(CMAKE_SCRIPT_MODE_FILE)
  write_schema()
endif()
