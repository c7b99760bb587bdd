package aliyun

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

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
