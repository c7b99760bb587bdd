package emulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

// answer is what becomes of a request.
type answer struct {
	label string     // for the counters: the code, or a fault's kind
	fault fault.Kind // empty: it met none

	status      int
	contentType string
	requestID   string
	body        []byte
	latency     time.Duration // before the answer
	duration    time.Duration // of a slow one
}

const (
	codeOK   = "OK"
	typeJSON = "application/json;charset=utf-8"
	typeHTML = "text/html;charset=utf-8"
)

// members are those of an answer's JSON object.
type members map[string]any

// answer is the answer to a request that was served or refused, with what a fault makes
// of it. The gateway's refusals have two more members than the service's.
func (e *Emulator) answer(host string, m members, f *fault.Fault, refused *gateway.Refusal) answer {
	if f != nil && f.Kind == fault.KindCode {
		refused = gateway.Refuse(f.Code)
		refused.Status, refused.Message = cmp.Or(f.Status, refused.Status), cmp.Or(f.Message, refused.Message)
	}
	id, status, code, message := requestID(), http.StatusOK, codeOK, codeOK
	if refused != nil {
		m, status, code, message = members{}, refused.Status, refused.Code, refused.Message
	}
	if status != http.StatusOK {
		m["HostId"] = host
		m["Recommend"] = "https://api.aliyun.com/troubleshoot?q=" + url.QueryEscape(code) + "&product=Dysmsapi&requestId=" + id
	}
	m["Code"], m["Message"], m["RequestId"] = code, message, id
	a := answer{
		label: code, status: status, contentType: typeJSON, requestID: id, body: encode(m), latency: e.opts.Latency,
	}
	if f != nil {
		a.spoil(f)
	}
	return a
}

// requestID returns an id in the form of a UUID in capitals: version 4 of RFC 9562.
func requestID() string {
	return fmt.Sprintf("%08X-%04X-4%03X-%04X-%012X", rand.Uint32(), rand.Uint32N(1<<16), rand.Uint32N(1<<12),
		1<<15|rand.Uint32N(1<<14), rand.Uint64N(1<<48))
}

// encode writes JSON as the service does: "&" in a URL stays as it is.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("emulator: an answer that is no JSON: " + err.Error()) // structs of text and numbers alone
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (a *answer) spoil(f *fault.Fault) {
	label := string(f.Kind)
	if f.Accept {
		label = "accept_" + label
	}
	switch f.Kind {
	case fault.KindHTML502:
		a.status, a.contentType, a.body = http.StatusBadGateway, typeHTML, []byte(page502)
	case fault.KindEmpty:
		a.body = nil
	case fault.KindGarbage:
		a.body = []byte(`{"Message":"OK","RequestId":"`)
	case fault.KindCode, fault.KindLatency, fault.KindLag, fault.KindUndelivered:
		label = a.label // the code that is answered
	default: // how it is delivered
	}
	a.label, a.fault, a.duration = label, f.Kind, cmp.Or(f.Duration, 5*time.Second)
	a.latency = cmp.Or(f.Latency, a.latency)
	if f.Kind == fault.KindHang {
		a.latency = math.MaxInt64
	}
}

const page502 = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n" +
	"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Tengine</center>\r\n</body>\r\n</html>\r\n"

// deliver writes the answer; slow byte by byte, evenly over its duration.
func (e *Emulator) deliver(w http.ResponseWriter, r *http.Request, a answer) {
	e.pause(r.Context(), a.latency)
	h := w.Header()
	// Clients read from it the clock by which signatures are checked.
	h.Set("Date", e.opts.Now().UTC().Format(http.TimeFormat))
	switch a.fault {
	case fault.KindHang, fault.KindDrop, fault.KindReset: // to return would send an empty 200
		abort(w, a.fault == fault.KindReset)
		return
	}
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("X-Acs-Request-Id", a.requestID)
	w.WriteHeader(a.status)
	if a.fault != fault.KindSlow {
		_, _ = w.Write(a.body) // a client that has gone needs no answer
		return
	}
	flusher := http.NewResponseController(w)
	for i := range a.body {
		e.pause(r.Context(), a.duration/time.Duration(len(a.body)))
		if _, err := w.Write(a.body[i : i+1]); err != nil {
			return // the client has gone
		}
		_ = flusher.Flush() // where it can't flush, the bytes come at once
	}
}

// pause waits for d, or until the client or the emulator goes.
func (e *Emulator) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-e.closing.Done():
	}
}

// abort closes the connection without an answer; reset with a TCP reset.
func abort(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the way of net/http where there is no hijacking, as in HTTP/2
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // fails only on a connection that is gone already
	}
	_ = conn.Close()
}
