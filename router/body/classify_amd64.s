//go:build !purego

#include "textflag.h"

// ALL16 fills a register with 16 times the byte that n repeats.
#define ALL16(n, x) \
	MOVQ $n, AX; \
	MOVQ AX, x; \
	PUNPCKLQDQ x, x

// SIXTEEN classifies 16 bytes at off(SI). The masks move up before theirs come
// in, so the last bytes come first. X4 is of all bytes, X5 of control characters.
#define SIXTEEN(off) \
	MOVOU off(SI), X0; \
	POR X0, X4; \
	MOVO X0, X1; \
	PCMPEQB X7, X1; \
	PMOVMSKB X1, AX; \
	SHLQ $16, R8; \
	ORQ AX, R8; \
	MOVO X0, X2; \
	PCMPEQB X8, X2; \
	PMOVMSKB X2, BX; \
	SHLQ $16, R9; \
	ORQ BX, R9; \
	MOVO X0, X3; \
	PMINUB X9, X3; \ // as it was, if at most 0x1f
	PCMPEQB X0, X3; \
	POR X3, X5

// func classify(p *[blockSize]byte) (quotes, backslashes, control, high uint64)
TEXT ·classify(SB), NOSPLIT, $0-40
	MOVQ p+0(FP), SI
	ALL16(0x2222222222222222, X7) // "
	ALL16(0x5c5c5c5c5c5c5c5c, X8) // backslash
	ALL16(0x1f1f1f1f1f1f1f1f, X9)
	PXOR X4, X4
	PXOR X5, X5
	XORQ R8, R8
	XORQ R9, R9
	SIXTEEN(48)
	SIXTEEN(32)
	SIXTEEN(16)
	SIXTEEN(0)
	PMOVMSKB X5, CX
	PMOVMSKB X4, DX
	MOVQ R8, quotes+8(FP)
	MOVQ R9, backslashes+16(FP)
	MOVQ CX, control+24(FP)
	MOVQ DX, high+32(FP)
	RET
