package emulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
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
	label    string     // for the counters: the code, or a fault's kind
	accepted int        // how many messages were accepted
	fault    fault.Kind // empty: it met none

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

	slowDuration = 5 * time.Second // of a fault that names none
)

// members are those of an answer's JSON object.
type members map[string]any

// served is the answer to a request that was served, with what a fault makes of it.
func (e *Emulator) served(c *gateway.Call, f *fault.Fault, m members) answer {
	a := e.answer(requestID(), http.StatusOK, codeOK, codeOK, m)
	if f != nil {
		a = e.spoil(a, f, c.Host)
	}
	return a
}

// refused is the answer to a request that was refused. The gateway's answers have two
// more members than the service's.
func (e *Emulator) refused(host string, r *gateway.Refusal) answer {
	id, m := requestID(), members{}
	if r.Status != http.StatusOK {
		m["HostId"] = host
		m["Recommend"] = "https://api.aliyun.com/troubleshoot?q=" + url.QueryEscape(r.Code) + "&product=Dysmsapi&requestId=" + id
	}
	return e.answer(id, r.Status, r.Code, r.Message, m)
}

func (e *Emulator) answer(id string, status int, code, message string, m members) answer {
	m["Code"], m["Message"], m["RequestId"] = code, message, id
	return answer{
		label: code, status: status, contentType: typeJSON, requestID: id, body: encode(m), latency: e.opts.Latency,
	}
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

// spoil makes of the right answer what a fault makes of it.
func (e *Emulator) spoil(a answer, f *fault.Fault, host string) answer {
	a.label = string(f.Kind)
	if f.Accept {
		a.label = "accept_" + a.label
	}
	switch f.Kind {
	case fault.KindCode:
		r := gateway.Refuse(f.Code)
		r.Status, r.Message = cmp.Or(f.Status, r.Status), cmp.Or(f.Message, r.Message)
		a = e.refused(host, r)
	case fault.KindHTML502:
		a.status, a.contentType, a.body = http.StatusBadGateway, typeHTML, []byte(page502)
	case fault.KindEmpty:
		a.body = nil
	case fault.KindGarbage:
		a.body = []byte(`{"Message":"OK","RequestId":"`)
	case fault.KindLatency, fault.KindLag, fault.KindUndelivered:
		a.label = codeOK // the answer is the right one
	default: // how it is delivered
	}
	a.fault = f.Kind
	a.duration = cmp.Or(f.Duration, slowDuration)
	a.latency = cmp.Or(f.Latency, a.latency)
	return a
}

const page502 = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n" +
	"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Tengine</center>\r\n</body>\r\n</html>\r\n"

// deliver lets the client have the answer, in the way that the answer says.
func (e *Emulator) deliver(w http.ResponseWriter, r *http.Request, a answer) {
	e.pause(r.Context(), a.latency)
	// Clients read from it the clock by which signatures are checked.
	w.Header().Set("Date", e.opts.Now().UTC().Format(http.TimeFormat))
	switch a.fault {
	case fault.KindHang:
		select {
		case <-r.Context().Done():
		case <-e.closing.Done():
		}
		abort(w, false) // to return would send an empty 200
	case fault.KindDrop:
		abort(w, false)
	case fault.KindReset:
		abort(w, true)
	default:
		e.write(w, r, a)
	}
}

// write writes the answer; slow byte by byte, evenly over its duration.
func (e *Emulator) write(w http.ResponseWriter, r *http.Request, a answer) {
	h := w.Header()
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
