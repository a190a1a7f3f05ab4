"""What is read out of compiled programs."""
# ruff: noqa: E501 (lines of HLO)

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from lateen_api.plan.compiled import Collective
from lateen_trainer.mesh import DATA, make_mesh
from lateen_trainer.rehearsal.program import Program

TPU = """HloModule jit_f, is_scheduled=true

%cond (param.1: (s32[], bf16[8,12,64])) -> pred[] {
  %param.1 = (s32[]{:T(128)}, bf16[8,12,64]{2,1,0}) parameter(0)
  %constant.1 = s32[]{:T(128)} constant(12)
  %get.1 = s32[]{:T(128)} get-tuple-element(%param.1), index=0
  ROOT %lt = pred[]{:T(512)} compare(%get.1, %constant.1), direction=LT
}

%fused (param.2: bf16[8,1024,768], param.3: bf16[1,768,12,64]) -> bf16[8,1024,12,64] {
  %param.2 = bf16[8,1024,768]{2,1,0} parameter(0)
  %left = bf16[8,1024,768,1]{2,1,0,3:T(8,128)(2,1)} bitcast(%param.2)
  %right = bf16[1,768,12,64]{3,2,1,0} parameter(1)
  ROOT %conv = bf16[8,1024,12,64]{3,1,2,0:T(8,128)(2,1)} convolution(%left, %right), window={size=1x12 pad=0_0x11_11 rhs_reversal=0x1}, dim_labels=0bf1_0i1o->0b1f
}

%body (param.4: (s32[], bf16[8,12,64])) -> (s32[], bf16[8,12,64]) {
  %param.4 = (s32[]{:T(128)}, bf16[8,12,64]{2,1,0}) parameter(0)
  %product = bf16[8,1024,12,64]{3,1,2,0} fusion(%a, %b), kind=kOutput, calls=%fused
  %splash_mha_fwd.7.clone = bf16[8,12,1024,64]{3,2,1,0} custom-call(%product), custom_call_target="tpu_custom_call"
  %start = (f32[2,4]{1,0}, f32[16,4]{1,0}) all-gather-start(%x), channel_id=1, dimensions={0}
  %done = f32[16,4]{1,0} all-gather-done(%start)
  %buffer = bf16[8]{0} custom-call(), custom_call_target="AllocateBuffer"
}

ENTRY %main (param.5: bf16[8,12,64]) -> bf16[8,12,64] {
  %loop = (s32[], bf16[8,12,64]) while(%tuple), condition=%cond, body=%body
  %sum = (bf16[3]{0}, f32[5]{0}) all-reduce(%p, %q), to_apply=%add
}
"""


def test_a_loop_counts_as_often_as_its_condition_lets_it_run():
    collectives = Program(TPU).collectives()
    assert collectives == {
        "all-gather": Collective(count=12, bytes=12 * 16 * 4 * 4),
        "all-reduce": Collective(count=1, bytes=3 * 2 + 5 * 4),
    }


def test_a_convolution_over_heads_costs_no_more_than_the_product_that_it_is():
    assert Program(TPU).product_flops() == 12 * 2 * 8 * 1024 * 768 * 12 * 64


def test_kernels_go_by_their_names_and_what_the_compiler_calls_itself_is_left_out():
    assert Program(TPU).kernels() == {"splash_mha_fwd": 12}


def test_products_of_cublas_are_counted():
    text = """
ENTRY %main (a: bf16[32,64], b: bf16[64,16]) -> bf16[32,16] {
  %a = bf16[32,64]{1,0} parameter(0)
  %b = bf16[64,16]{1,0} parameter(1)
  %gemm = (bf16[32,16]{1,0}, s8[4096]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
}
"""
    program = Program(text)
    assert (program.product_flops(), program.kernels()) == (2 * 32 * 64 * 16, {"__cublas$gemm": 1})


def test_a_program_of_this_machines_compiler():
    """Products and sums of a loop of five trips on four devices."""
    mesh = make_mesh(4, 1, jax.devices()[:4])

    def on_device(x, weights):
        def body(x, w):
            return jax.lax.psum(jnp.tanh(x @ w), DATA), None

        return jax.lax.scan(body, x, weights)[0]

    specs = (PartitionSpec(DATA), PartitionSpec())
    f = jax.jit(jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(DATA), check_vma=False))
    x, weights = jnp.zeros((4 * 128, 256)), jnp.zeros((5, 256, 256))
    program = Program(f.lower(x, weights).compile().as_text())
    assert program.product_flops() == 5 * 2 * 128 * 256 * 256
    assert program.collectives() == {"all-reduce": Collective(count=5, bytes=5 * 128 * 256 * 4)}
