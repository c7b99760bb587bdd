// Package number reads phone numbers as Aliyun's SMS service does.
package number

import "strings"

// Number is a phone number of a request.
type Number struct {
	Received string // as the client wrote it, without a plus sign
	// Key is the same however the number is written: 11 digits for mainland China,
	// elsewhere the country code and the number.
	Key string
}

// Parse reads one number: of the mainland with or without 86, 0086 or +86, others with their country code.
func Parse(s string) (Number, bool) {
	received := strings.TrimPrefix(s, "+")
	if received == "" || strings.Trim(received, "0123456789") != "" {
		return Number{}, false
	}
	digits := strings.TrimPrefix(received, "00")
	if len(digits) < 7 || len(digits) > 15 || digits[0] == '0' {
		return Number{}, false
	}
	digits, china := strings.CutPrefix(digits, "86")
	n := Number{Received: received, Key: digits}
	// No area code of North America begins with 0 or 1.
	if china && !n.IsMainland() || digits[0] == '1' && (len(digits) != 11 || digits[1] < '2') {
		return Number{}, false
	}
	return n, true
}

// IsMainland reports whether the number is a mobile number of mainland China. Like the
// service it takes a North American number that begins with 13 to 19 for one.
func (n Number) IsMainland() bool {
	return len(n.Key) == 11 && n.Key[0] == '1' && n.Key[1] >= '3'
}
