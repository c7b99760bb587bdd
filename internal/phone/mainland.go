package phone

import "sync/atomic"

// mainland knows of mainland China's mobile numbers what libphonenumber says of
// them. Its rules there depend on the first five digits alone, so one question for
// each such prefix is enough. TestMainlandIsLibphonenumber holds the two together.
var mainland [10_000]atomic.Int32

// What is known of a prefix.
const (
	unasked int32 = iota
	isMobile
	isNone
)

// validMainland reports whether digits are a valid mobile number of mainland China.
func validMainland(digits string) bool {
	if !looksMainland(digits) {
		return false
	}
	prefix := 0
	for _, c := range []byte(digits[1:5]) {
		prefix = 10*prefix + int(c-'0')
	}
	known := mainland[prefix].Load()
	if known == unasked {
		known = isNone
		if canonical, _ := validate("86" + digits); canonical == "+86"+digits {
			known = isMobile
		}
		mainland[prefix].Store(known)
	}
	return known == isMobile
}
