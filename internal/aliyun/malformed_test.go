package aliyun

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// malformed is an answer as it must not be, whole as it is on the wire.
type malformed struct {
	family string
	wire   string
	then   ending
	// harmless: what is wrong does not touch what the answer says, so that saying
	// the same as the sound one is right, and so is doubt.
	harmless bool
	sound    sound // what it was made from
}

// ending is what the server does after it has written.
type ending int

const (
	keep      ending = iota // waits for the next request
	hangUp                  // closes the connection
	cutOff                  // resets it
	saysNoEnd               // keeps it open, and writes nothing more
)

// sound is a well-formed answer, and what it means.
type sound struct {
	status int
	body   string
	class  passcode.Class // of a send; empty where it answers a look-up
	found  string         // of a look-up: "accepted", "undelivered", "not found" or ""
	// vital are the members, as they stand in the body, that decide what it means,
	// and trivial those that don't.
	vital, trivial []string
}

const (
	requestID   = `"RequestId":"F655A8D5-B967-440B-8683-DAD6FF8DE990"`
	echo        = `"Message":"13812345678invalid mobile number; code 493817 of Zebra-Shop"`
	receiptText = `"BizId":"900619746936498440^0"`
)

// soundSends are answers to SendSms, of every class.
func soundSends() []sound {
	refuse := func(status int, class passcode.Class, code string) sound {
		member := fmt.Sprintf(`"Code":%q`, code)
		return sound{
			status: status, class: class, body: "{" + strings.Join([]string{echo, requestID, member}, ",") + "}",
			vital: []string{member}, trivial: []string{echo, requestID},
		}
	}
	return []sound{
		{
			status: 200, class: passcode.ClassOK, body: okBody,
			vital: []string{`"Code":"OK"`, receiptText}, trivial: []string{`"Message":"OK"`, requestID},
		},
		refuse(200, passcode.ClassRecipient, "isv.MOBILE_NUMBER_ILLEGAL"),
		refuse(200, passcode.ClassPhoneLimited, "isv.BUSINESS_LIMIT_CONTROL"),
		refuse(200, passcode.ClassConfig, "isv.SMS_TEMPLATE_ILLEGAL"),
		refuse(403, passcode.ClassAccount, "Forbidden.RAM"),
		refuse(400, passcode.ClassThrottled, "Throttling.User"),
		refuse(503, passcode.ClassTransient, "ServiceUnavailable"),
		refuse(500, passcode.ClassInDoubt, "InternalError"),
	}
}

// soundDetails are answers to QuerySendDetails for the test's request.
func soundDetails() []sound {
	const text = `"Content":"【x】493817","PhoneNum":"13812345678"`
	page := func(found string, total int, outID, status string) sound {
		row := fmt.Sprintf(`{%s,"ErrCode":"NO_ROUTE",%s,%s}`, text, outID, status)
		rows := `"SmsSendDetailDTO":[` + row + `]`
		list := `"SmsSendDetailDTOs":{` + rows + `}`
		count := fmt.Sprintf(`"TotalCount":%d`, total)
		return sound{
			status: 200, found: found, body: "{" + strings.Join([]string{count, `"Message":"OK"`, requestID, list, `"Code":"OK"`}, ",") + "}",
			vital: []string{count, `"Code":"OK"`, list, rows, outID, status}, trivial: []string{`"Message":"OK"`, requestID},
		}
	}
	return []sound{
		page("accepted", 1, `"OutId":"req-1"`, `"SendStatus":3`),
		page("accepted", 1, `"OutId":"req-1"`, `"SendStatus":1`),
		page("undelivered", 1, `"OutId":"req-1"`, `"SendStatus":2`),
		page("not found", 1, `"OutId":"req-2"`, `"SendStatus":3`),
	}
}

// family makes one malformed answer from a sound one.
type family struct {
	name string
	make func(*rand.Rand, sound) malformed
}

// corpus makes answers, all different, by a seed: from each family by rotation and
// each sound answer.
func corpus(seed uint64, size int, from []sound) []malformed {
	random := rand.New(rand.NewPCG(seed, 0))
	families := slices.Concat(textFamilies(), wireFamilies())
	seen := map[string]bool{}
	var all []malformed
	for round := 0; len(all) < size && round < 100*size; round++ {
		f := families[round%len(families)]
		s := from[(round/len(families))%len(from)]
		m := f.make(random, s)
		m.family, m.sound = f.name, s
		if key := fmt.Sprint(m.then, m.wire); !seen[key] && m.wire != reply(s.status, s.body) {
			seen[key] = true
			all = append(all, m)
		}
	}
	return all
}

// reply is an answer as it should be on the wire.
func reply(status int, body string, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: %d\r\n%s\r\n%s",
		status, http.StatusText(status), len(body), headerLines(headers), body)
}

func headerLines(headers []string) string {
	var lines strings.Builder
	for _, header := range headers {
		lines.WriteString(header + "\r\n")
	}
	return lines.String()
}

func one[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// put replaces a member by others, and fails where the body has no such member.
func put(body, member, others string) string {
	if !strings.Contains(body, member) {
		panic("no member " + member)
	}
	return strings.Replace(body, member, others, 1)
}

// name returns the quoted name of a member, and its value.
func name(member string) (quoted, value string) {
	quoted, value, _ = strings.Cut(member, ":")
	return quoted, value
}

// wireFamilies are what can be wrong with an answer around its body.
func wireFamilies() []family {
	then := func(end ending, change func(*rand.Rand, sound) string) func(*rand.Rand, sound) malformed {
		return func(r *rand.Rand, s sound) malformed { return malformed{wire: change(r, s), then: end} }
	}
	cut := func(r *rand.Rand, s sound) string {
		whole := reply(s.status, s.body)
		return whole[:r.IntN(len(whole))]
	}
	// Of these only a few: each costs the time that a call may take, a megabyte, or
	// a hundred kilobytes of headers.
	seldom := func(few int, f, otherwise func(*rand.Rand, sound) malformed) func(*rand.Rand, sound) malformed {
		return func(r *rand.Rand, s sound) malformed {
			if few--; few >= 0 {
				return f(r, s)
			}
			return otherwise(r, s)
		}
	}
	hungUp := then(hangUp, cut)
	return []family{
		{"closed in the middle", hungUp},
		{"reset in the middle", then(cutOff, cut)},
		{"no end", seldom(24, then(saysNoEnd, cut), hungUp)},
		{"a longer length", then(hangUp, func(r *rand.Rand, s sound) string {
			return withLength(s, fmt.Sprint(len(s.body)+1+r.IntN(1<<r.IntN(30))))
		})},
		{"a shorter length", then(keep, func(r *rand.Rand, s sound) string { return withLength(s, fmt.Sprint(r.IntN(len(s.body)))) })},
		{"a length that is none", then(hangUp, func(r *rand.Rand, s sound) string {
			return withLength(s, one(r, "-1", "x", "1e3", "0x10", "99999999999999999999", "12, 13", "1 1", "\x00", "+5", "5;", "1_0", "--5"))
		})},
		{"two lengths", then(hangUp, func(r *rand.Rand, s sound) string {
			return withLength(s, fmt.Sprintf("%d\r\nContent-Length: %d", len(s.body), len(s.body)+1+r.IntN(1000)))
		})},
		{"chunks that break off", then(hangUp, func(r *rand.Rand, s sound) string {
			whole := chunked(r, s.body)
			return chunkedHead(s) + whole[:r.IntN(len(whole)-4)]
		})},
		{"chunks that are none", then(hangUp, func(r *rand.Rand, s sound) string {
			return chunkedHead(s) + one(r, s.body, "\r\n"+s.body, "-5\r\n"+s.body, "xyz\r\n"+s.body, "ffffffffffffffff\r\n"+s.body, "0\r\n\r\n"+s.body,
				fmt.Sprintf("%x;%s\r\n%s", len(s.body), strings.Repeat("x", 5_000), s.body), fmt.Sprintf("%x\r\n%s%x\r\n", len(s.body), s.body, 3), "10000000000000000\r\n", "5\n\n\n")
		})},
		{"another transfer encoding", then(hangUp, func(r *rand.Rand, s sound) string {
			return strings.Replace(chunkedHead(s), "chunked", one(r, "gzip", "chunked, chunked", "identity", "xchunked", "chunked\r\nTransfer-Encoding: gzip"), 1) + s.body
		})},
		{"compressed", then(keep, func(r *rand.Rand, s sound) string {
			return reply(s.status, zipped(r, s.body), "Content-Encoding: "+one(r, "gzip", "deflate", "br", "zstd"))
		})},
		{"another status", anotherStatus},
		{"a redirect", then(keep, func(r *rand.Rand, s sound) string {
			return reply(one(r, 300, 301, 302, 303, 305, 307, 308), s.body,
				"Location: "+one(r, "/", "http://127.0.0.1:1/", "/?again=1", "//x.invalid/", "file:///etc/hosts", "", "\x7f", "https://"+strings.Repeat("x", 1+r.IntN(200))))
		})},
		{"a body where none may be", then(hangUp, func(r *rand.Rand, s sound) string {
			return reply(one(r, 204, 304, 205, 100, 102, 103, 199), s.body, fmt.Sprintf("X-Odd: %d", r.IntN(1000)))
		})},
		{"another protocol", then(saysNoEnd, func(r *rand.Rand, _ sound) string {
			return fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\n\r\n", one(r, "websocket", "h2c", "TLS/1.2", "x"))
		})},
		{"a status line that is none", then(hangUp, func(r *rand.Rand, s sound) string {
			_, rest, _ := strings.Cut(reply(s.status, s.body), "\r\n")
			return one(r, "HTTP/1.1 2OO OK", "HTTP/1.1 0 OK", "HTTP/1.1 -200 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 0200 OK", "HTTP/1.1200 OK", "HTTP/1.1", "HTTP", "", " ", "ICY 200 OK",
				"http/1.1 200 OK", "HTTP/x.1 200 OK", "HTTPS/1.1 200 OK", "HTTP/1.1\t200\tOK", "200 OK", "\x00HTTP/1.1 200 OK", "HTTP/1,1 200 OK", "POST / HTTP/1.1") + "\r\n" + rest
		})},
		{"no HTTP", then(hangUp, func(r *rand.Rand, s sound) string {
			return one(r, "SSH-2.0-OpenSSH_9.6 13812345678\r\n", "220 mail.invalid ESMTP 493817\r\n", "\x15\x03\x01\x00\x02\x02\x28", "\x16\x03\x03\x00\x05hello", "INFO {\"server_id\":\"NATS\"}\r\n",
				"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x12\x04\x00\x00\x00\x00\x00", "+OK\r\n", "-ERR 13812345678\r\n", s.body, "\r\n\r\n"+s.body, strings.Repeat("\r\n", 1+r.IntN(50)), strings.Repeat("\xff", 1+r.IntN(5_000)))
		})},
		{"headers that are none", func(r *rand.Rand, s sound) malformed {
			return malformed{harmless: true, then: hangUp, wire: reply(s.status, s.body, one(r, "no colon", ": no name", " folded", "Bad Name: x", "X: \x00", "X\x00: y", "Ünicode: x", "X : y", "Connection: close, keep-alive", "Trailer: X",
				"Date: yesterday", "Set-Cookie: 13812345678=493817", "Content-Type: text/html;charset=utf-16", "Content-Type: text/xml;charset=gbk", "Content-Type: \xff", "Content-Type: application/octet-stream", "Content-Range: bytes 0-1/2",
				fmt.Sprintf("X-Twice: %d\r\nX-Twice: %d", r.IntN(100), r.IntN(100))))}
		}},
		{"enormous headers", seldom(12, then(hangUp, func(r *rand.Rand, s sound) string {
			return reply(s.status, s.body, one(r, "X: "+strings.Repeat("x", 128<<10+r.IntN(1000)), strings.Repeat("X-Many: 13812345678\r\n", 8<<10+r.IntN(100))+"X: y", strings.Repeat("x", 128<<10+r.IntN(1000))))
		}), hungUp)},
		{"an enormous body", seldom(6, then(hangUp, func(r *rand.Rand, s sound) string {
			return reply(s.status, put(s.body, requestID, requestID+`,"Extra":"`+strings.Repeat("x", answer.MaxBytes+r.IntN(1000))+`"`))
		}), hungUp)},
		{"a body as large as may be", seldom(6, func(r *rand.Rand, s sound) malformed {
			return malformed{harmless: true, wire: reply(s.status, put(s.body, requestID, requestID+`,"Extra":"`+strings.Repeat("x", answer.MaxBytes-1000-r.IntN(1000))+`"`))}
		}, hungUp)},
		{"informal answers before it", func(r *rand.Rand, s sound) malformed {
			before := strings.Repeat(one(r, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"), 1+r.IntN(40))
			return malformed{harmless: true, then: hangUp, wire: before + reply(s.status, s.body)}
		}},
	}
}

func withLength(s sound, length string) string {
	return strings.Replace(reply(s.status, s.body), fmt.Sprintf("Content-Length: %d", len(s.body)), "Content-Length: "+length, 1)
}

func chunkedHead(s sound) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", s.status)
}

func chunked(r *rand.Rand, body string) string {
	var out strings.Builder
	for body != "" {
		n := 1 + r.IntN(len(body))
		fmt.Fprintf(&out, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return out.String() + "0\r\n\r\n"
}

// zipped is a body that is compressed, says so without being it, or is cut off.
func zipped(r *rand.Rand, body string) string {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write([]byte(body)) // to memory
	_ = writer.Close()
	text := out.String()
	switch r.IntN(3) {
	case 0:
		return text
	case 1:
		return text[:1+r.IntN(len(text)-1)]
	default:
		at := r.IntN(len(text))
		return "\x1f\x8b" + text[at:] + text[:at]
	}
}

// anotherStatus: OK counts with 200 alone, and a refusal with 200 or an error's.
func anotherStatus(r *rand.Rand, s sound) malformed {
	status := 201 + r.IntN(799)
	m := malformed{wire: reply(status, s.body, "X-Odd: y"), then: hangUp}
	m.harmless = status >= 400 && status <= 599 && !strings.Contains(s.body, `"Code":"OK"`)
	return m
}
