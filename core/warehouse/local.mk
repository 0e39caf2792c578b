core_libcore_a_SOURCES += \
	core/warehouse/native.c core/warehouse/native.h \
	core/warehouse/warehouse.h
