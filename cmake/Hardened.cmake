# What distributions compile network services with. It is off while we measure and develop, because it
# would make every object anew; packages are built with it. Paths of the machine stay out of the program.
option(SHARDSWARM_HARDENED "stack protector, checked string functions, full RELRO" OFF)
if(SHARDSWARM_HARDENED)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
    -fstack-clash-protection "-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.")
  add_link_options(-Wl,-z,relro -Wl,-z,now)
endif()
