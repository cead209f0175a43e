# What ocellus needs of a system: Highway's headers, its library for run-time dispatch, stb_image.h for picture files,
# threads. Used by our own build and by find_package(ocellus). Reads OCELLUS_STATIC_DISPATCH, OCELLUS_IMAGE_FILES,
# OCELLUS_HIGHWAY_ROOT; a project that has a target hwy::hwy or hwy already gets that one.

# Links the interface library `target` to all of it, or ends the configuration with what to install.
function(ocellus_add_dependencies target)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} INTERFACE Threads::Threads)

  if(OCELLUS_HIGHWAY_ROOT)
    set(where HINTS ${OCELLUS_HIGHWAY_ROOT} ${OCELLUS_HIGHWAY_ROOT}/usr NO_DEFAULT_PATH)
  endif()
  if(OCELLUS_STATIC_DISPATCH)
    target_compile_definitions(${target} INTERFACE OCELLUS_STATIC_DISPATCH)
  endif()
  if(NOT OCELLUS_HIGHWAY_ROOT AND TARGET hwy::hwy)
    set(highway_target hwy::hwy)
  elseif(NOT OCELLUS_HIGHWAY_ROOT AND TARGET hwy)
    set(highway_target hwy)
  endif()
  if(highway_target)
    if(OCELLUS_STATIC_DISPATCH)
      target_include_directories(${target} SYSTEM INTERFACE
                                 $<TARGET_PROPERTY:${highway_target},INTERFACE_INCLUDE_DIRECTORIES>)
    else()
      target_link_libraries(${target} INTERFACE ${highway_target})
    endif()
  else()
    find_path(OCELLUS_HIGHWAY_INCLUDE hwy/highway.h ${where} PATH_SUFFIXES include)
    mark_as_advanced(OCELLUS_HIGHWAY_INCLUDE)
    if(NOT OCELLUS_HIGHWAY_INCLUDE)
      message(FATAL_ERROR "ocellus needs Highway's headers (hwy/highway.h): install libhwy-dev (Debian, Ubuntu) or "
                          "highway-devel, or set OCELLUS_HIGHWAY_ROOT to where it is installed.")
    endif()
    target_include_directories(${target} SYSTEM INTERFACE ${OCELLUS_HIGHWAY_INCLUDE})
    if(NOT OCELLUS_STATIC_DISPATCH)
      find_library(OCELLUS_HIGHWAY_LIBRARY hwy ${where} PATH_SUFFIXES lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE})
      mark_as_advanced(OCELLUS_HIGHWAY_LIBRARY)
      if(NOT OCELLUS_HIGHWAY_LIBRARY)
        message(FATAL_ERROR "ocellus needs Highway's library (libhwy) to choose kernels at run time: install libhwy-dev "
                            "(Debian, Ubuntu) or highway-devel, set OCELLUS_HIGHWAY_ROOT to where it is installed, or "
                            "set OCELLUS_STATIC_DISPATCH=ON to do without.")
      endif()
      target_link_libraries(${target} INTERFACE ${OCELLUS_HIGHWAY_LIBRARY})
      if(NOT OCELLUS_HIGHWAY_LIBRARY MATCHES "\\.(a|lib)$")
        target_compile_definitions(${target} INTERFACE HWY_SHARED_DEFINE)
      endif()
    endif()
  endif()

  if(DEFINED OCELLUS_IMAGE_FILES AND NOT OCELLUS_IMAGE_FILES)
    target_compile_definitions(${target} INTERFACE OCELLUS_NO_IMAGE_FILES)
  else()
    find_path(OCELLUS_STB_INCLUDE stb_image.h PATH_SUFFIXES stb)
    mark_as_advanced(OCELLUS_STB_INCLUDE)
    if(NOT OCELLUS_STB_INCLUDE)
      message(FATAL_ERROR "ocellus needs stb_image.h to decode PNG and JPEG files: install libstb-dev (Debian, Ubuntu) "
                          "or stb-devel, or set OCELLUS_IMAGE_FILES=OFF to do without.")
    endif()
    target_include_directories(${target} SYSTEM INTERFACE ${OCELLUS_STB_INCLUDE})
  endif()
endfunction()
