package aliyun

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

func TestScrubTakesTheMessagesValuesFromATextOfAliyuns(t *testing.T) {
	t.Parallel()
	scrub := newScrubber(testMessage())
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
		got := scrub.text(test.raw)
		assertNoSecret(t, got)
		if test.want != "" || test.raw == "" {
			assert.Equal(t, test.want, got, "%q", test.raw)
		}
	}
}

func TestScrubBoundsATextAtARunesEdge(t *testing.T) {
	t.Parallel()
	for pad := range 4 {
		got := newScrubber(testMessage()).text(strings.Repeat("x", pad) + strings.Repeat("流", 200))
		assert.LessOrEqual(t, len(got), maxMessageBytes)
		assert.Greater(t, len(got), maxMessageBytes-8)
		assert.True(t, utf8.ValidString(got))
	}
}

func TestScrubOfAHugeTextLeavesNoPartOfAValue(t *testing.T) {
	t.Parallel()
	scrub := newScrubber(testMessage())
	for pad := range 24 {
		// Masking shrinks what is before the cut until its end would be seen.
		raw := strings.Repeat(" ", pad) + strings.Repeat("13812345678,", maxScannedBytes)
		got := scrub.text(raw)
		assert.NotRegexp(t, `\d{2}`, got)
		assert.LessOrEqual(t, len(got), maxMessageBytes)
	}
}

func TestScrubOfCodesWithoutKnowingThePasscode(t *testing.T) {
	t.Parallel()
	scrub := newScrubber(domain.Message{Phone: passcode.NewPhone(testPhone)})
	assert.Equal(t, "MOBILE_IN_BLACK", scrub.code("MOBILE_IN_BLACK"))
	assert.Equal(t, unreadableCode, scrub.code("X4938"))
}

func TestScrubKnowsEscapedValues(t *testing.T) {
	t.Parallel()
	msg := testMessage()
	msg.Params = map[string]string{"a": `x "y"&z`, "b": ""}
	scrub := newScrubber(msg)
	for _, raw := range []string{`x "y"&z`, `x+%22y%22%26z`, `x \"y\"\u0026z`, `x%20%22y%22%26z`, `x%2520%2522y%2522%2526z`} {
		assert.Equal(t, "<****>", scrub.text("<"+raw+">"), raw)
	}
}

func TestScrubOfCodesAndReceipts(t *testing.T) {
	t.Parallel()
	scrub := newScrubber(testMessage())
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
		assert.Equal(t, want, scrub.code(raw), raw)
	}
	for raw, want := range map[string]string{
		"900619746936498440^0":                 "900619746936498440^0",
		"F655A8D5-B967-440B-8683-DAD6FF8DE990": "F655A8D5-B967-440B-8683-DAD6FF8DE990",
		"x13812345678":                         unreadableCode,
		"a b":                                  unreadableCode,
		strings.Repeat("1", 129):               unreadableCode,
		"":                                     "",
	} {
		assert.Equal(t, want, scrub.id(raw), raw)
	}
	// A known code is a constant of ours, and so tells nothing of a code like it.
	msg := domain.Message{Code: passcode.NewPasscode("LIMIT")}
	assert.Equal(t, "isv.DAY_LIMIT_CONTROL", newScrubber(msg).code("isv.DAY_LIMIT_CONTROL"))
}

func TestClassOf(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]passcode.Class{
		"Throttling.Api": passcode.ClassThrottled, "Throttling.Other": passcode.ClassThrottled,
		"Forbidden": passcode.ClassAccount, "Forbidden.RAM": passcode.ClassAccount, "ForbiddenAction": passcode.ClassAccount,
		"InvalidTimeStamp.Expired": passcode.ClassAccount, "InvalidAccessKeyId.NotFound": passcode.ClassAccount,
		"InvalidSecurityToken.Expired": passcode.ClassAccount, "MissingSecurityToken": passcode.ClassAccount,
		"MissingPhoneNumbers": passcode.ClassConfig, "InvalidAction.NotFound": passcode.ClassConfig,
		"InvalidVersion": passcode.ClassConfig, "isv.UNHEARD_OF": passcode.ClassConfig, "": passcode.ClassConfig,
		"ok": passcode.ClassConfig, "SignatureNonceUsed": passcode.ClassInDoubt, "isp.GATEWAY_ERROR": passcode.ClassTransient,
		"isv.CUSTOMER_REFUSED": passcode.ClassRecipient, "isv.AMOUNT_NOT_ENOUGH": passcode.ClassAccount,
	} {
		class, _ := classOf(code)
		assert.Equal(t, want, class, code)
	}
	for code, class := range classes {
		assert.Contains(t, passcode.Classes(), class, code)
	}
}

func TestWindowOf(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]time.Duration{
		"触发分钟级流控Permits:1": time.Minute, "触发小时级流控Permits:5": time.Hour, "触发天级流控Permits:10": 24 * time.Hour,
		"触发号码天级流控Permits:40": 24 * time.Hour, "": 24 * time.Hour, "limited": 24 * time.Hour,
	} {
		assert.Equal(t, want, windowOf(message), message)
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
		got := newScrubber(msg).text(strings.Repeat("13812345678 493817 v1* ", maxScannedBytes/20))
		assertNoSecret(t, got)
	}
}
