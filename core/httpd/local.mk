core_libcore_a_SOURCES += core/httpd/httpd.c core/httpd/httpd.h
