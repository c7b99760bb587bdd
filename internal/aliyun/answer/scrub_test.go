package answer

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// assertNoSecret looks for the values of [testMessage] in a text.
func assertNoSecret(t testing.TB, text string) {
	t.Helper()
	for _, secret := range []string{"13812345678", "8613812345678", testPhone, testCode, "Zebra-Shop", "Zebra%2DShop", "PhoneNumbers=", "://", "TestKeySecret"} {
		assert.NotContains(t, text, secret)
	}
}

const (
	testPhone = "+8613812345678"
	testCode  = "493817"
)

func testMessage() domain.Message {
	return domain.Message{
		Phone: passcode.NewPhone(testPhone), Code: passcode.NewPasscode(testCode), Params: map[string]string{"app": "Zebra-Shop"},
	}
}

func TestScrubTakesTheMessagesValuesFromATextOfAliyuns(t *testing.T) {
	t.Parallel()
	scrub := NewScrubber(testMessage())
	for _, test := range []struct{ raw, want string }{
		{"13812345678invalid mobile number", "****invalid mobile number"},
		{"+8613812345678 and 8613812345678 and 0086 138-1234-5678", "**** and **** and ****"},
		{"138 1234 5678", "****"},
		{"1381\x002345678", "****"},
		{"1381\u200b2345678", "****"},
		{"13900000000 is another's", "**** is another's"},
		{"１３８１２３４５６７８", "****"},
		{"code 493817.", "code ****."},
		{"code 4938\x0017.", "code ****."},
		{"zebra-shop", "****"},
		{"see https://h/?PhoneNumbers=1&x#y now", "see [url] now"},
		{
			"Specified signature is not matched with our calculation. server string to sign is:POST&%2F&PhoneNumbers%3D13812345678",
			"Specified signature is not matched with our calculation. server string to sign ****",
		},
		{"server CanonicalRequest is POST\n/\nOutId=req-1&PhoneNumbers=13812345678", "server CanonicalRequest ****"},
		{"TemplateParam%3D%257B%2522app%2522%253A%2522Zebra-Shop%2522%252C%2522code%2522%253A%2522493817%2522%257D", ""},
		{"POST /?PhoneNumbers=1&x=y HTTP/1.1", "POST [url] HTTP/1.1"},
		{"The parameter PhoneNumbers is missing.", "The parameter PhoneNumbers is missing."},
		{"触发分钟级流控Permits:1", "触发分钟级流控Permits:1"},
		{"a\r\n\tb\x1b[31m\xff", "a   b[31m"},
		{"", ""},
	} {
		got := scrub.Text(test.raw)
		assertNoSecret(t, got)
		if test.want != "" || test.raw == "" {
			assert.Equal(t, test.want, got, "%q", test.raw)
		}
	}
}

func TestScrubBoundsATextAndLeavesNoPartOfAValue(t *testing.T) {
	t.Parallel()
	scrub := NewScrubber(testMessage())
	for pad := range 24 {
		got := scrub.Text(strings.Repeat("x", pad) + strings.Repeat("流", 200))
		assert.LessOrEqual(t, len(got), MaxMessageBytes)
		assert.Greater(t, len(got), MaxMessageBytes-8)
		assert.True(t, utf8.ValidString(got))

		// Masking shrinks what is before the cut until its end would be seen.
		got = scrub.Text(strings.Repeat(" ", pad) + strings.Repeat("13812345678,", maxScannedBytes))
		assert.NotRegexp(t, `\d{2}`, got)
		assert.LessOrEqual(t, len(got), MaxMessageBytes)
	}
}

func TestScrubKnowsEscapedValues(t *testing.T) {
	t.Parallel()
	msg := testMessage()
	msg.Params = map[string]string{"a": `x "y"&z`, "b": ""}
	scrub := NewScrubber(msg)
	for _, raw := range []string{`x "y"&z`, `x+%22y%22%26z`, `x \"y\"\u0026z`, `x%20%22y%22%26z`, `x%2520%2522y%2522%2526z`} {
		assert.Equal(t, "<****>", scrub.Text("<"+raw+">"), raw)
	}
}

func TestScrubOfCodesAndReceipts(t *testing.T) {
	t.Parallel()
	scrub := NewScrubber(testMessage())
	for raw, want := range map[string]string{
		"isv.BUSINESS_LIMIT_CONTROL":  "isv.BUSINESS_LIMIT_CONTROL",
		"InvalidAccessKeyId.NotFound": "InvalidAccessKeyId.NotFound",
		"isv.X-1":                     "isv.X-1",
		"X493817":                     unreadableCode,
		"X1234567":                    unreadableCode,
		"two words":                   unreadableCode,
		"<nil>":                       unreadableCode,
		"":                            unreadableCode,
		strings.Repeat("x", 65):       unreadableCode,
	} {
		assert.Equal(t, want, scrub.Code(raw), raw)
	}
	for raw, want := range map[string]string{
		"900619746936498440^0":                 "900619746936498440^0",
		"F655A8D5-B967-440B-8683-DAD6FF8DE990": "F655A8D5-B967-440B-8683-DAD6FF8DE990",
		"x13812345678":                         unreadableCode,
		"a b":                                  unreadableCode,
		strings.Repeat("1", 129):               unreadableCode,
		"":                                     "",
	} {
		assert.Equal(t, want, scrub.ID(raw), raw)
	}
	unknowing := NewScrubber(domain.Message{Phone: passcode.NewPhone(testPhone)})
	assert.Equal(t, "MOBILE_IN_BLACK", unknowing.Code("MOBILE_IN_BLACK"))
	assert.Equal(t, unreadableCode, unknowing.Code("X4938"), "it may be the passcode")
	// A known code is a constant of ours, and so tells nothing of a code like it.
	msg := domain.Message{Code: passcode.NewPasscode("LIMIT")}
	assert.Equal(t, "isv.DAY_LIMIT_CONTROL", NewScrubber(msg).Code("isv.DAY_LIMIT_CONTROL"))
}

func TestWindowOf(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]time.Duration{
		"触发分钟级流控Permits:1": time.Minute, "触发小时级流控Permits:5": time.Hour, "触发天级流控Permits:10": 24 * time.Hour,
		"触发号码天级流控Permits:40": 24 * time.Hour, "": 24 * time.Hour, "limited": 24 * time.Hour,
	} {
		assert.Equal(t, want, WindowOf(message), message)
	}
}

// The largest job there is must not make a pattern that can't be compiled.
func TestScrubOfTheLargestMessage(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 300 {
		many[strconv.Itoa(i)] = "v" + strconv.Itoa(i) + "*"
	}
	for _, params := range []map[string]string{many, {"p": strings.Repeat(`流"`, passcode.MaxJobBytes/4)}} {
		msg := testMessage()
		msg.Params = params
		got := NewScrubber(msg).Text(strings.Repeat("13812345678 493817 v1* ", maxScannedBytes/20))
		assertNoSecret(t, got)
	}
}

// FuzzScrub looks for the secrets in scrubbed texts, whatever the secrets are.
func FuzzScrub(f *testing.F) {
	f.Add("13812345678 493817", "493817", "13812345678", "Zebra")
	f.Add("4938493817", "4938", "13812345678", "")
	f.Add("1212121", "1212", "18624017194", "*")
	f.Fuzz(func(t *testing.T, raw, code, digits, param string) {
		msg := testMessage()
		msg.Code, msg.Phone = passcode.NewPasscode(code), passcode.NewPhone("+"+digits)
		msg.Params = map[string]string{"p": param}
		if _, ok := Digits(msg.Phone); !ok || len(code) < 4 || len(code) > 6 || strings.ContainsFunc(code, notAlphanumeric) {
			t.Skip()
		}
		scrub := NewScrubber(msg)
		for _, text := range []string{scrub.Text(raw), scrub.ID(raw)} {
			if strings.Contains(text, digits) {
				t.Fatalf("the phone is in %q", text)
			}
		}
		text := scrub.Text(raw)
		if strings.Contains(strings.ToLower(text), strings.ToLower(code)) && !strings.Contains("[url]", strings.ToLower(code)) {
			t.Fatalf("the passcode is in %q", text)
		}
		if !utf8.ValidString(text) || len(text) > MaxMessageBytes {
			t.Fatalf("%q", text)
		}
		if got := scrub.Code(raw); got != raw && got != unreadableCode {
			t.Fatalf("%q", got)
		}
	})
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
