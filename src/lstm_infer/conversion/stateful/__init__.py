"""A model as an ONNX file of one step, whose states are inputs and outputs.

`step` walks one step of n frames and says how far each value lags, `emit` says each of its nodes in standard operators
(`recurrent`, `loops`, `windows`, `sums`; `dialect` and what is `composed` and `quantised` for those that stand still in time),
`merged` leaves the batch open, `proto` makes the file, `beside` runs it beside its source.
"""
