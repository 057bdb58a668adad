package body

import (
	"encoding/binary"
	"math/bits"
)

// Numbers is how many bytes of list are nothing but whole numbers without a
// sign, each with a comma behind it and maybe a space: a prompt of token ids, or a handoff's
// blocks, has thousands.
func Numbers(list []byte) int {
	i := 0
	for len(list)-i > 8 {
		n := digits(binary.LittleEndian.Uint64(list[i:]))
		if n == 8 { // long ones are rare
			for n < len(list)-i && list[i+n]-'0' <= 9 {
				n++
			}
		}
		if n == 0 || n > 18 || n > 1 && list[i] == '0' || n == len(list)-i || list[i+n] != ',' {
			break
		}
		i += n + 1
		if i < len(list) && list[i] == ' ' {
			i++
		}
	}
	return i
}

// digits is how many of eight bytes are digits before the first that is none.
func digits(x uint64) int {
	const ones = 0x0101010101010101
	x ^= ones * '0'              // 0 to 9 for digits
	x = (x + ones*(0x80-10)) | x // the high bit for others; what is carried spoils only what follows one
	return bits.TrailingZeros64(x&highBits) / 8
}
