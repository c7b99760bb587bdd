package emulator

import "strings"

// number is a phone number of a request.
type number struct {
	// received is the number as the client wrote it, without a plus sign.
	received string
	// key is the same for every way of writing one number: 11 digits for
	// mainland China, elsewhere the country code and the number.
	key string
}

// parseNumber reads a number as the service does: mainland numbers bare or
// behind 86, 0086 or +86; others as country code and number.
func parseNumber(s string) (number, bool) {
	received := strings.TrimPrefix(s, "+")
	if received == "" || strings.Trim(received, "0123456789") != "" {
		return number{}, false
	}
	digits := strings.TrimPrefix(received, "00")
	if len(digits) < 7 || len(digits) > 15 || digits[0] == '0' {
		return number{}, false
	}
	if national, ok := strings.CutPrefix(digits, "86"); ok {
		digits = national
		if !isMainland(digits) {
			return number{}, false
		}
	}
	// No area code of North America begins with 0 or 1.
	if digits[0] == '1' && (len(digits) != 11 || digits[1] < '2') {
		return number{}, false
	}
	return number{received: received, key: digits}, true
}

// isMainland reports whether digits are a mobile number of mainland China. A
// North American number that begins 13 to 19 looks the same; the service, too,
// takes it for a mainland number.
func isMainland(digits string) bool {
	return len(digits) == 11 && digits[0] == '1' && digits[1] >= '3'
}

// parseNumbers reads numbers with commas between them.
func parseNumbers(s string) ([]number, bool) {
	var numbers []number
	for text := range strings.SplitSeq(s, ",") {
		n, ok := parseNumber(text)
		if !ok {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, true
}
