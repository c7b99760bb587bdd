// Package ratelimit keeps the limits per phone: at most so many SMS in so long a
// window, shared by every replica of the worker.
//
// # Windows
//
// A window is a true sliding one. A place taken at time t counts until t+w
// exactly and no longer: with "5/1h" a sixth request is allowed the moment the
// first of five is an hour old. No window is ever cut at a full hour or day, so
// twice the limit can't pass around a boundary, as it can with counters.
//
// # State
//
// Each phone has one JSON document in a key-value bucket, under the hex
// HMAC-SHA256 of its E.164 number: no number is stored. The document lists the
// places taken and, where Aliyun itself closed the phone, until when. It is
// changed by compare-and-swap alone, so two replicas can't both take the last
// place. A denial writes nothing.
//
// Reads may come from a follower that is a moment behind. A grant can't go wrong
// by that, since its write is refused unless it is based on the newest document.
// A denial can: a place given back within the last few milliseconds may not be
// seen yet. That errs on the safe side, and the request is told when to come again.
//
// # Clocks
//
// Times are those of the replicas' clocks. Where the document holds a newer time
// than the local clock shows, that time counts as now, so a replica whose clock
// is behind can't slip below a window. Windows are therefore exact up to the
// difference between the replicas' clocks: keep them synchronised (Aliyun refuses
// requests that are fifteen minutes off in any case).
//
// # What the key is worth
//
// The HMAC key made by default lies in the same bucket as the documents. It keeps
// numbers out of listings, backups and logs; it does not protect them from
// somebody who may read the whole bucket, because there are few enough phone
// numbers to try them all. Where that matters, set [Options].Key.
package ratelimit
