package emulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// answer is what becomes of a request.
type answer struct {
	label    string // for the counters: the code, or a fault's kind
	accepted int    // how many messages were accepted
	faulty   bool   // it met a fault

	status      int
	contentType string
	requestID   string
	body        []byte

	latency  time.Duration // before the answer
	how      Kind          // hang, drop, reset or slow; otherwise it is simply written
	duration time.Duration // of slow
}

const (
	typeJSON = "application/json;charset=utf-8"
	typeHTML = "text/html;charset=utf-8"
)

// fine is the service's answer to a request that it served. body is an object
// with Code OK and the request id.
func (e *Emulator) fine(requestID string, body any) answer {
	return answer{
		label: codeOK, status: http.StatusOK, contentType: typeJSON, requestID: requestID,
		body: encode(body), latency: e.opts.Latency,
	}
}

// refused is the answer to a request that was refused. The gateway's answers
// have two members more than the service's.
func (e *Emulator) refused(host string, r *refusal) answer {
	type body struct {
		RequestID string `json:"RequestId"`
		Message   string
		Recommend string `json:",omitempty"`
		HostID    string `json:"HostId,omitempty"`
		Code      string
	}
	b := body{RequestID: e.random.requestID(), Message: r.message, Code: r.code}
	if r.status != http.StatusOK {
		b.HostID = host
		b.Recommend = "https://api.aliyun.com/troubleshoot?q=" + url.QueryEscape(r.code) +
			"&product=Dysmsapi&requestId=" + b.RequestID
	}
	return answer{
		label: r.code, status: r.status, contentType: typeJSON, requestID: b.RequestID,
		body: encode(b), latency: e.opts.Latency,
	}
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

// spoil makes of the right answer what a fault makes of it; nil leaves it.
func (e *Emulator) spoil(f *Fault, host string, right answer) answer {
	if f == nil {
		return right
	}
	a := right
	label := string(f.Kind)
	if f.Accept {
		label = "accept_" + label
	}
	switch f.Kind {
	case KindCode:
		a = e.refused(host, &refusal{
			status: cmp.Or(f.Status, statusOf(f.Code)), code: f.Code, message: cmp.Or(f.Message, messageOf(f.Code)),
		})
		label = f.Code
	case KindHTML502:
		a.status, a.contentType, a.body = http.StatusBadGateway, typeHTML, []byte(page502)
	case KindEmpty:
		a.body = nil
	case KindGarbage:
		a.body = []byte(`{"Message":"OK","RequestId":"`)
	case KindHang, KindDrop, KindReset, KindSlow:
		a.how = f.Kind
	case KindLatency, KindLag, KindUndelivered:
		label = codeOK // the answer is the right one
	}
	a.label, a.faulty, a.accepted = label, true, right.accepted
	a.latency = cmp.Or(f.Latency, right.latency)
	a.duration = cmp.Or(f.Duration, defaultSlowDuration)
	return a
}

const page502 = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n" +
	"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>Tengine</center>\r\n</body>\r\n</html>\r\n"

// deliver lets the client have the answer, in the way that the answer says.
func (e *Emulator) deliver(w http.ResponseWriter, r *http.Request, a answer) {
	e.pause(r.Context(), a.latency)
	// Clients read the service's clock from it, so it must be the one that
	// signatures are checked by.
	w.Header().Set("Date", e.opts.Now().UTC().Format(http.TimeFormat))
	switch a.how {
	case KindHang:
		select {
		case <-r.Context().Done():
		case <-e.closing:
		}
		abort(w, false) // to return would send an empty 200
	case KindDrop:
		abort(w, false)
	case KindReset:
		abort(w, true)
	case KindSlow:
		writeHead(w, a)
		e.drip(w, r, a)
	default:
		writeHead(w, a)
		_, _ = w.Write(a.body) // a client that has gone needs no answer
	}
}

func writeHead(w http.ResponseWriter, a answer) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("X-Acs-Request-Id", a.requestID)
	w.WriteHeader(a.status)
}

// drip writes the body in up to twenty pieces, evenly over the duration.
func (e *Emulator) drip(w http.ResponseWriter, r *http.Request, a answer) {
	const most = 20
	flusher := http.NewResponseController(w)
	size := max((len(a.body)+most-1)/most, 1)
	pieces := (len(a.body) + size - 1) / size
	for rest := a.body; len(rest) > 0; {
		e.pause(r.Context(), a.duration/time.Duration(pieces))
		n := min(size, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			return // the client has gone
		}
		_ = flusher.Flush() // where it can't flush, the pieces come at once
		rest = rest[n:]
	}
}

// pause waits for d, or until the client or the emulator goes.
func (e *Emulator) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-e.closing:
	}
}

// abort closes the connection without an answer; reset with a TCP reset in
// place of an orderly end.
func abort(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the way of net/http where there is no hijacking, as in HTTP/2
	}
	inner := conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		inner = wrapped.NetConn() // TLS would say goodbye
	}
	if tcp, ok := inner.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // fails only on a connection that is gone already
		_ = inner.Close()
	}
	_ = conn.Close()
}
