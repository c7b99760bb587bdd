package aliyun

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf16"
)

// textFamilies are what can be wrong with a body.
func textFamilies() []family {
	// sent is the body instead of the sound one, in an answer that is well-formed
	// otherwise.
	sent := func(change func(*rand.Rand, sound) string) func(*rand.Rand, sound) malformed {
		return func(random *rand.Rand, s sound) malformed { return malformed{wire: reply(s.status, change(random, s))} }
	}
	harmless := func(change func(*rand.Rand, sound) string) func(*rand.Rand, sound) malformed {
		return func(random *rand.Rand, s sound) malformed {
			return malformed{wire: reply(s.status, change(random, s)), harmless: true}
		}
	}
	return []family{
		{"cut off, with the length of what is left", sent(func(r *rand.Rand, s sound) string { return s.body[:r.IntN(len(s.body))] })},
		{"without its beginning", sent(func(r *rand.Rand, s sound) string { return s.body[1+r.IntN(len(s.body)-1):] })},
		{"a vital member of a wrong type", sent(wrongType)},
		{"a trivial member of a wrong type", harmless(func(r *rand.Rand, s sound) string {
			member := one(r, s.trivial...)
			quoted, _ := name(member)
			return put(s.body, member, quoted+":"+one(r, "null", "true", "7", "-0.5e-9", `""`, "[]", "{}", `["OK"]`, `{"Code":"OK"}`, strings.Repeat("9", 400)))
		})},
		{"a vital member missing", sent(func(r *rand.Rand, s sound) string {
			// Without an OutId a row is somebody else's, which is sound.
			member := one(r, without(s.vital, `"OutId"`)...)
			return put(s.body, member, fmt.Sprintf(`"X%d":1`, r.IntN(1000)))
		})},
		{"a code that is none", sent(func(r *rand.Rand, s sound) string {
			return put(s.body, codeOf(s), `"Code":`+one(r, oddCodes...))
		})},
		{"a vital member twice", sent(twice)},
		{"a receipt that is none", sent(badReceipt)},
		{"wrapped in something", sent(wrapped)},
		{"deeply nested", sent(func(r *rand.Rand, s sound) string {
			depth := 10_001 + r.IntN(5_000)
			return put(s.body, requestID, requestID+`,"Extra":`+strings.Repeat("[", depth)+strings.Repeat("]", depth))
		})},
		{"nested as deep as may be", harmless(func(r *rand.Rand, s sound) string {
			depth := 1 + r.IntN(4_000)
			return put(s.body, requestID, requestID+`,"Extra":`+strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth))
		})},
		{"a huge number", harmless(func(r *rand.Rand, s sound) string {
			return put(s.body, requestID, requestID+`,"Extra":`+one(r, "1e", "-1E", "1e-", "0.1e+")+strings.Repeat("9", 1+r.IntN(400)))
		})},
		{"no UTF-8 in a vital member", sent(func(r *rand.Rand, s sound) string {
			member := codeOf(s)
			at := 1 + r.IntN(len(member)-2)
			return put(s.body, member, member[:at]+string([]byte{byte(0x80 + r.IntN(0x80))})+member[at+1:])
		})},
		{"no UTF-8 in a trivial member", harmless(func(r *rand.Rand, s sound) string {
			member := one(r, s.trivial...)
			at := len(member) - 1
			return put(s.body, member, member[:at]+string([]byte{byte(0x80 + r.IntN(0x80)), byte(0x80 + r.IntN(0x80))})+member[at:])
		})},
		{"another encoding", sent(func(r *rand.Rand, s sound) string {
			return one(r, "\xef\xbb\xbf"+s.body, "\xef\xbb\xbf\xef\xbb\xbf"+s.body, wide(s.body, 0, true), wide(s.body, 0xfeff, false), wide(s.body, 0xfeff, true))
		})},
		{"a control character", sent(func(r *rand.Rand, s sound) string {
			at := r.IntN(len(s.body) + 1)
			return s.body[:at] + strings.Repeat(string(rune(r.IntN(9))), 1+r.IntN(3)) + s.body[at:]
		})},
		{"something behind", sent(func(r *rand.Rand, s sound) string {
			return s.body + one(r, "x", "}", "]", ",", "{}", "\n"+okBody, "\r\n"+s.body, "\x00", "<!-- "+echo+" -->", "/* */", "//", ";", ")", "\ufeff", "null", "0", `"OK"`)
		})},
		{"something before", sent(func(r *rand.Rand, s sound) string {
			return one(r, ")]}',\n", "while(1);", "for(;;);", "{}", "callback(", "/**/", "//", "\x00", "\u00a0", "data: ", "1", "null,", "\x1f\x8b", okBody, "'", "[", "\u2028") + s.body
		})},
		{"another dialect", sent(dialect)},
		{"another language", sent(func(r *rand.Rand, s sound) string { return language(r, s) })},
		{"no object", sent(func(r *rand.Rand, _ sound) string {
			return one(r, "", " ", "\r\n", "null", "true", "OK", `"OK"`, "[]", "[[]]", "{}", "{ }", "7", "-", "1e999", `"`, "{", "[", "}", ",", ":", `{"Code"`, `{"Code":`, `{"Code":}`, "undefined", "NaN", "\x00")
		})},
		{"a page of somebody on the way", func(r *rand.Rand, s sound) malformed {
			status := one(r, 200, 200, 302, 400, 403, 404, 407, 429, 502, 503, 504, 511, 520)
			return malformed{wire: reply(status, fmt.Sprintf(one(r,
				"<html><head><title>%d</title></head><body>POST /?PhoneNumbers=13812345678&TemplateParam=493817 Zebra-Shop</body></html>",
				"<!DOCTYPE html><h1>Log in to the network (%d)</h1><form action=https://x.invalid/?13812345678></form>",
				"%d upstream connect error or disconnect/reset before headers. 13812345678 493817",
				"error code: %d",
				`{"error":{"status":%d,"message":"no healthy upstream 13812345678"}}`,
				`{"fault":"%d","Message":"OK","BizId":"900619746936498440^0"}`,
				`{"code":%d,"message":"13812345678 493817"}`), status), one(r, "Server: nginx", "Server: Tengine", "Via: 1.1 squid"))}
		}},
	}
}

// oddCodes are values, as JSON, that the service would never write for a code.
var oddCodes = []string{
	`""`, `" "`, `"ok"`, `"Ok"`, `"oK"`, `"OK "`, `" OK"`, `"OK\u0000"`, `"OK\n"`, `"OK."`, `".OK"`, `"_OK_"`, `"ＯＫ"`, `"OK\u200b"`, `"\ufeffOK"`,
	`"0"`, `"200"`, `"200 OK"`, `"-1"`, `"13812345678"`, `"493817"`, `"isv.MOBILE NUMBER"`, `"isv.MOBILE_NUMBER_ILLEGAL\u0000"`, `"isv.X\ud800"`,
	`"<nil>"`, `"<b>OK</b>"`, `"{\"Code\":\"OK\"}"`, `"OK,OK"`, `"'OK'"`, `"\"OK\""`, `"https://x.invalid/?13812345678"`, `"触发天级流控"`,
	`"` + strings.Repeat("A", 65) + `"`, `"` + strings.Repeat("isv.", 5_000) + `"`,
}

func codeOf(s sound) string {
	for _, member := range s.vital {
		if strings.HasPrefix(member, `"Code":`) {
			return member
		}
	}
	panic("no code")
}

func without(members []string, name string) []string {
	var rest []string
	for _, member := range members {
		if !strings.HasPrefix(member, name) {
			rest = append(rest, member)
		}
	}
	return rest
}

func wrongType(r *rand.Rand, s sound) string {
	member := one(r, s.vital...)
	quoted, value := name(member)
	wrong := []string{"true", "false", "1.5", "-1", "1e999", `"x y"`, `["OK"]`, `{"Code":"OK"}`, "[[]]", "[[1]]", `[{"a":[]}]`, "[" + value + "]", `{"":` + value + `}`}
	switch quoted {
	case `"OutId"`:
		wrong = wrong[:5] // a text, or nothing, is an id of somebody else's
	case `"SmsSendDetailDTOs"`, `"SmsSendDetailDTO"`:
		wrong = append(wrong, "null", "[null]", "[7]", `["x"]`)
	case `"TotalCount"`, `"SendStatus"`:
		wrong = append(wrong, "null", `""`, `"-"`, `"1x"`, `"0x1"`, `" 1"`, "1e0", "[]", "99999999999999999999", "-9223372036854775809")
	default:
		wrong = append(wrong, "null", `""`, "[]", "{}", "0", "7")
	}
	return put(s.body, member, quoted+":"+one(r, wrong...))
}

// twice adds a member that contradicts a vital one, by the same name or one that
// a reader may take for it.
func twice(r *rand.Rand, s sound) string {
	member := one(r, s.vital...)
	quoted, _ := name(member)
	switch r.IntN(4) {
	case 0:
		quoted = strings.ToLower(quoted)
	case 1:
		quoted = strings.ToUpper(quoted)
	case 2:
		quoted = strings.ReplaceAll(quoted, "S", "ſ")
	}
	other := quoted + ":" + one(r, "null", `"OK"`, `"isv.MOBILE_NUMBER_ILLEGAL"`, `"req-1"`, `"1^0"`, "0", "1", "3", "[]", "{}", "true")
	if r.IntN(2) == 0 {
		return put(s.body, member, member+","+other)
	}
	return put(s.body, member, other+","+member)
}

// badReceipt contradicts the code: OK without a receipt, or a refusal with one.
func badReceipt(r *rand.Rand, s sound) string {
	if !strings.Contains(s.body, receiptText) {
		if s.found != "" { // a look-up has none: its rows are too few
			return strings.Replace(s.body, `"TotalCount":1`, fmt.Sprintf(`"TotalCount":%d`, one(r, 0, -1, -7)), 1)
		}
		return put(s.body, requestID, requestID+fmt.Sprintf(`,"BizId":"%d^0"`, 1+r.IntN(1_000_000)))
	}
	return put(s.body, receiptText, one(r, `"Biz":"1^0"`, `"BizId":""`, `"BizId":" "`, `"BizId":"\u0000"`, `"BizId":"<nil>"`, `"BizId":"1 2"`,
		`"BizId":"发"`, `"BizId":"\ud800"`, `"BizId":"`+strings.Repeat("9", 129+r.IntN(500))+`"`, `"BizId":["9^0"]`, `"BizId":900619746936498440`, `"BizId":{"BizId":"9^0"}`))
}

func wrapped(r *rand.Rand, s sound) string {
	return fmt.Sprintf(one(r, "[%s]", "[[%s]]", `{"data":%s}`, `{"Response":%s}`, `{"body":%s,"status":200}`, `{"SendSmsResponse":%s}`, "%[1]q", `{"body":%[1]q}`, "(%s)", "callback(%s);", "<![CDATA[%s]]>", "```json\n%s\n```", "[%[1]s,%[1]s]", "%[1]s%[1]s"), s.body)
}

// wide is UTF-16, big-endian or little-endian, with a byte order mark or none.
func wide(text string, mark uint16, big bool) string {
	units := utf16.Encode([]rune(text))
	if mark != 0 {
		units = append([]uint16{mark}, units...)
	}
	var out []byte
	for _, unit := range units {
		if high, low := byte(unit>>8), byte(unit); big {
			out = append(out, high, low)
		} else {
			out = append(out, low, high)
		}
	}
	return string(out)
}

func dialect(r *rand.Rand, s sound) string {
	return one(r,
		strings.ReplaceAll(s.body, `"`, "'"),
		strings.ReplaceAll(s.body, `"Code"`, "Code"),
		strings.TrimSuffix(s.body, "}")+",}",
		strings.Replace(s.body, "{", "{/* x */", 1),
		strings.Replace(s.body, "{", "{,", 1),
		strings.Replace(s.body, ":", "=", 1),
		strings.Replace(s.body, ",", ";", 1),
		strings.Replace(s.body, ",", "", 1),
		strings.Replace(s.body, ",", ",,", 1),
		strings.Replace(s.body, requestID, `"RequestId":NaN`, 1),
		strings.Replace(s.body, requestID, `"RequestId":0x1F`, 1),
		strings.Replace(s.body, requestID, `"RequestId":01`, 1),
		strings.Replace(s.body, requestID, `"RequestId":"\x41"`, 1),
		strings.Replace(s.body, requestID, `"RequestId":"\u12"`, 1),
		strings.Replace(s.body, requestID, "\"RequestId\":\"a\tb\"", 1),
		strings.Replace(s.body, requestID, "\"RequestId\":`a`", 1),
	)
}

func language(r *rand.Rand, s sound) string {
	code := strings.Trim(strings.TrimPrefix(codeOf(s), `"Code":`), `"`)
	return fmt.Sprintf(one(r,
		"<?xml version='1.0' encoding='UTF-8'?><SendSmsResponse><Message>OK</Message><BizId>1^0</BizId><Code>%s</Code></SendSmsResponse>",
		"<Error><RequestId>x</RequestId><Code>%s</Code><Message>13812345678 493817</Message></Error>",
		"Code: %s\nBizId: 1^0\n", "Code=%s&BizId=1%%5E0", "Code,BizId\n%s,1^0\n", "\x82\xa4Code\xa2%s\xa5BizId\xa31^0", "a:2:{s:4:\"Code\";s:2:\"%s\";}", "%s", "Code %s", "\n\n%s\n\n", "(Code . %s)"), code)
}
