# What is installed, and the Debian package of it:
#   cmake --workflow --preset package        build/release/unstream_VERSION_ARCH.deb
#
# Paths are those of Debian: the service's unit knows /usr/bin and /etc.

include(GNUInstallDirs)
set(MANUAL ${CMAKE_BINARY_DIR}/manual)
set(DOC_DIR share/doc/unstream)

# ---- the manual
find_program(GZIP gzip REQUIRED)

# Installed as DESTINATION/NAME.gz, always the same bytes for the same input.
function(install_compressed file destination name)
  add_custom_command(OUTPUT ${MANUAL}/${name}.gz
    COMMAND ${CMAKE_COMMAND} -E make_directory ${MANUAL}
    COMMAND ${GZIP} -9nc ${file} > ${MANUAL}/${name}.gz
    DEPENDS ${file} VERBATIM)
  set_property(TARGET manual APPEND PROPERTY SOURCES ${MANUAL}/${name}.gz)
  install(FILES ${MANUAL}/${name}.gz DESTINATION ${destination})
endfunction()

add_custom_command(OUTPUT ${MANUAL}/unstream.json.5
  COMMAND ${CMAKE_COMMAND} -D SCHEMA=${CMAKE_SOURCE_DIR}/schema/config.schema.json
    -D TEMPLATE=${CMAKE_CURRENT_LIST_DIR}/man/unstream.json.5.in -D OUT=${MANUAL}/unstream.json.5
    -P ${CMAKE_CURRENT_LIST_DIR}/man/config_page.cmake
  DEPENDS schema/config.schema.json ${CMAKE_CURRENT_LIST_DIR}/man/unstream.json.5.in
    ${CMAKE_CURRENT_LIST_DIR}/man/config_page.cmake
  COMMENT "Writing unstream.json(5)" VERBATIM)
add_custom_target(manual ALL)
install_compressed(${CMAKE_CURRENT_LIST_DIR}/man/unstream.1 share/man/man1 unstream.1)
install_compressed(${MANUAL}/unstream.json.5 share/man/man5 unstream.json.5)
install_compressed(${CMAKE_CURRENT_LIST_DIR}/debian/changelog ${DOC_DIR} changelog)

# ---- the files
install(TARGETS unstream RUNTIME DESTINATION bin)
install(FILES README.md schema/openapi.yaml schema/config.schema.json DESTINATION ${DOC_DIR})
install(FILES ${CMAKE_CURRENT_LIST_DIR}/prometheus/alerts.yaml
  ${CMAKE_CURRENT_LIST_DIR}/grafana/dashboard.json DESTINATION ${DOC_DIR}/examples)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/copyright DESTINATION ${DOC_DIR})
install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/lintian-overrides
  DESTINATION share/lintian/overrides RENAME unstream)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/systemd/unstream.service
  ${CMAKE_CURRENT_LIST_DIR}/systemd/unstream.socket DESTINATION /lib/systemd/system)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/etc/unstream.json DESTINATION /etc/unstream)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/etc/environment DESTINATION /etc/unstream
  PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)

# ---- the package
set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON) # some paths are absolute
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGE_NAME unstream)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The unstream maintainers <maintainers@unstream.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "complete JSON answers from LLM providers")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"An HTTP service for clients that post plain JSON to language models and cannot
read a stream. It streams from the provider, assembles the complete body and
answers once, with an exact length. Idempotency keys and finished answers are
kept in SQLite, so that a retry joins the generation that is still running or
gets the stored answer, and is not paid for twice.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION web)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(name conffiles postinst prerm postrm)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/debian/${name})
endforeach()
include(CPack)
