// Package roster knows what each instance says that it serves: the names in its
// answer to GET /v1/models, LoRA adapters among them.
//
// Run is the one goroutine, the owner of what is known. It asks an instance
// when it appears or comes back, then every now and then, and when somebody
// doubts what is known of it; a round of questions has up to eight short
// goroutines, which end with it. What came of it is published as a map that is
// never changed. Find, Doubt and Forget only leave word for the owner.
package roster
