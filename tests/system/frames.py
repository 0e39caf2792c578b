# SPDX-License-Identifier: Apache-2.0
"""LZ4 frames, as they are in messages and in the outbox, with the library that the daemon uses too."""
import ctypes
import ctypes.util

LIBRARY = ctypes.CDLL(ctypes.util.find_library("lz4") or "liblz4.so.1")
LIBRARY.LZ4F_compressFrameBound.restype = ctypes.c_size_t
LIBRARY.LZ4F_compressFrame.restype = ctypes.c_size_t
LIBRARY.LZ4F_decompress.restype = ctypes.c_size_t
VERSION, ROOM = 100, 1 << 20


def check(code):
    if LIBRARY.LZ4F_isError(ctypes.c_size_t(code)):
        raise ValueError(f"LZ4: error {code}")
    return code


def pack(content):
    room = LIBRARY.LZ4F_compressFrameBound(ctypes.c_size_t(len(content)), None)
    frame = ctypes.create_string_buffer(room)
    size = check(LIBRARY.LZ4F_compressFrame(frame, ctypes.c_size_t(room), content, ctypes.c_size_t(len(content)), None))
    return frame.raw[:size]


def unpack(frames):
    """The contents of all frames, one after the other."""
    context, content, at, left = ctypes.c_void_p(), b"", 0, 1
    check(LIBRARY.LZ4F_createDecompressionContext(ctypes.byref(context), VERSION))
    try:
        out = ctypes.create_string_buffer(ROOM)
        while at < len(frames):
            made, used = ctypes.c_size_t(ROOM), ctypes.c_size_t(len(frames) - at)
            left = check(LIBRARY.LZ4F_decompress(context, out, ctypes.byref(made), frames[at:], ctypes.byref(used), None))
            content += out.raw[:made.value]
            at += used.value
    finally:
        LIBRARY.LZ4F_freeDecompressionContext(context)
    if left:
        raise ValueError("LZ4: cut off")
    return content


def is_frame(body):
    return body.startswith(b"\x04\x22\x4d\x18")


def lines(body):
    """The events of a message or an outbox row, packed or not."""
    if isinstance(body, str):
        body = body.encode()
    if is_frame(body):
        body = unpack(body)
    return body.decode().rstrip("\n").split("\n")
