"""Writes the small graphs of models/tests/refusals.rs beside itself. Each is wrong in the way its name says, except good.onnx.

All have the seven columns of sepsis_vitals unless the name says otherwise.
"""

import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
F, D = TensorProto.FLOAT, TensorProto.DOUBLE


def write(name, nodes, inputs=None, output=("N", 1), constants=(), opset=17, of=F):
    inputs = inputs or [helper.make_tensor_value_info("inputs", of, ["N", 7])]
    outputs = [helper.make_tensor_value_info("probability", of, list(output))]
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    with open(os.path.join(HERE, f"{name}.onnx"), "wb") as f:
        f.write(model.SerializeToString(deterministic=True))


def constant(name, values, kind=np.float32):
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def linear(columns=7, source="inputs", of=np.float32):
    """Sigmoid of 0.01 times the sum, less 4."""
    nodes = [helper.make_node("Gemm", [source, "weights", "bias"], ["odds"]),
             helper.make_node("Sigmoid", ["odds"], ["probability"])]
    return nodes, [constant("weights", [[0.01]] * columns, of), constant("bias", [-4.0], of)]


def main():
    nodes, weights = linear()
    write("good", nodes, constants=weights)
    write("opset_16", nodes, constants=weights, opset=16)

    eight, weights8 = linear(8)
    wide = [helper.make_tensor_value_info("inputs", F, ["N", 8])]
    write("eight_columns", eight, inputs=wide, constants=weights8)

    double, weights64 = linear(of=np.float64)
    write("float64", double, constants=weights64, of=D)

    two = [helper.make_tensor_value_info(n, F, ["N", 7]) for n in ("inputs", "more")]
    both, _ = linear(source="both")
    write("two_inputs", [helper.make_node("Add", ["inputs", "more"], ["both"]), *both], inputs=two, constants=weights)

    gemm = [helper.make_node("Gemm", ["inputs", "weights", "bias"], ["probability"])]
    write("not_a_probability", gemm, constants=[weights[0], constant("bias", [3.0])])

    # Square root of (sum - 300): NaN for a row whose sum is below 300.
    root = [helper.make_node("Gemm", ["inputs", "ones", "less"], ["rest"]), helper.make_node("Sqrt", ["rest"], ["root"]),
            helper.make_node("Mul", ["root", "scale"], ["probability"])]
    write("nan_sometimes", root,
          constants=[constant("ones", [[1.0]] * 7), constant("less", [-300.0]), constant("scale", [0.01])])
    never = [helper.make_node("Gemm", ["inputs", "none", "less"], ["minus"]),
             helper.make_node("Sqrt", ["minus"], ["probability"])]
    write("nan_always", never, constants=[constant("none", [[0.0]] * 7), constant("less", [-1.0])])

    # Says [M, 1], gives [2, 1] for one row.
    twice = [helper.make_node("Concat", ["inputs", "inputs"], ["doubled"], axis=0), *linear(source="doubled")[0]]
    write("two_rows_for_one", twice, output=("M", 1), constants=weights)

    # Says that its weights lie in a file outside the model's folder.
    outside = TensorProto(name="weights", data_type=F, dims=[7, 1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "28")):
        outside.external_data.add(key=key, value=value)
    write("external_data", nodes, constants=[outside, weights[1]])


if __name__ == "__main__":
    main()
