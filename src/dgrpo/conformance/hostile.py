"""Texts that peers may send, and that nothing may raise on."""

HOSTILE = (
    "",
    " ",
    "\n",
    "\x00\x1b[2J\x07\r\u202e",
    "<think>" * 50,
    "<think> <think> a </think> <answer> 4 </answer> </think> <answer> 5 </answer>",
    "</answer> 4 <answer> </think> <think>",
    "<think> {prompt} {0} %s ${x} </think> <answer> 10**10**10 </answer>",
    "<answer> " + "9" * 400 + " </answer>",
    "2+2=" * 100,
    "All hail to the thief, " * 40,
    "word " * 300,
    "😀é中٣½",
    "<|endoftext|>",
)
