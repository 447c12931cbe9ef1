// Written by scripts/truth/make-arena-kernels.sh from arena_kernels.cu: the PTX text of the recorder's own kernels.
#pragma once

namespace gcr {
inline constexpr char arena_kernels_ptx[] = R"PTX(
.version 6.4
.target sm_75
.address_size 64
	// .globl	gcr_fill
.visible .entry gcr_fill(
	.param .u64 gcr_fill_param_0,
	.param .u64 gcr_fill_param_1,
	.param .u64 gcr_fill_param_2,
	.param .u64 gcr_fill_param_3
)
{
	.reg .pred 	%p<3>;
	.reg .b32 	%r<5>;
	.reg .b64 	%rd<29>;
	ld.param.u64 	%rd7, [gcr_fill_param_0];
	ld.param.u64 	%rd8, [gcr_fill_param_1];
	ld.param.u64 	%rd9, [gcr_fill_param_2];
	ld.param.u64 	%rd10, [gcr_fill_param_3];
	mov.u32 	%r1, %ntid.x;
	cvt.u64.u32 	%rd1, %r1;
	mov.u32 	%r2, %ctaid.x;
	mul.wide.u32 	%rd11, %r2, %r1;
	mov.u32 	%r3, %tid.x;
	cvt.u64.u32 	%rd12, %r3;
	add.s64 	%rd28, %rd11, %rd12;
	setp.ge.u64 	%p1, %rd28, %rd8;
	@%p1 bra 	$L__BB0_3;
	mov.u32 	%r4, %nctaid.x;
	cvt.u64.u32 	%rd13, %r4;
	mul.lo.s64 	%rd3, %rd13, %rd1;
	cvta.to.global.u64 	%rd4, %rd7;
$L__BB0_2:
	add.s64 	%rd14, %rd28, %rd9;
	mul.lo.s64 	%rd15, %rd14, -7046029254386353131;
	add.s64 	%rd16, %rd15, -7046029254386353131;
	shr.u64 	%rd17, %rd16, 30;
	xor.b64  	%rd18, %rd17, %rd16;
	mul.lo.s64 	%rd19, %rd18, -4658895280553007687;
	shr.u64 	%rd20, %rd19, 27;
	xor.b64  	%rd21, %rd20, %rd19;
	mul.lo.s64 	%rd22, %rd21, -7723592293110705685;
	shr.u64 	%rd23, %rd22, 31;
	xor.b64  	%rd24, %rd22, %rd10;
	xor.b64  	%rd25, %rd24, %rd23;
	shl.b64 	%rd26, %rd28, 3;
	add.s64 	%rd27, %rd4, %rd26;
	st.global.u64 	[%rd27], %rd25;
	add.s64 	%rd28, %rd28, %rd3;
	setp.lt.u64 	%p2, %rd28, %rd8;
	@%p2 bra 	$L__BB0_2;
$L__BB0_3:
	ret;
}
	// .globl	gcr_compare
.visible .entry gcr_compare(
	.param .u64 gcr_compare_param_0,
	.param .u64 gcr_compare_param_1,
	.param .u64 gcr_compare_param_2,
	.param .u64 gcr_compare_param_3,
	.param .u64 gcr_compare_param_4
)
{
	.reg .pred 	%p<4>;
	.reg .b16 	%rs<2>;
	.reg .b32 	%r<5>;
	.reg .b64 	%rd<34>;
	ld.param.u64 	%rd8, [gcr_compare_param_0];
	ld.param.u64 	%rd9, [gcr_compare_param_1];
	ld.param.u64 	%rd10, [gcr_compare_param_2];
	ld.param.u64 	%rd11, [gcr_compare_param_3];
	ld.param.u64 	%rd12, [gcr_compare_param_4];
	mov.u32 	%r1, %ntid.x;
	cvt.u64.u32 	%rd1, %r1;
	mov.u32 	%r2, %ctaid.x;
	mul.wide.u32 	%rd13, %r2, %r1;
	mov.u32 	%r3, %tid.x;
	cvt.u64.u32 	%rd14, %r3;
	add.s64 	%rd33, %rd13, %rd14;
	setp.ge.u64 	%p1, %rd33, %rd9;
	@%p1 bra 	$L__BB1_5;
	mov.u32 	%r4, %nctaid.x;
	cvt.u64.u32 	%rd15, %r4;
	mul.lo.s64 	%rd3, %rd15, %rd1;
	cvta.to.global.u64 	%rd4, %rd8;
	cvta.to.global.u64 	%rd5, %rd12;
$L__BB1_2:
	add.s64 	%rd16, %rd33, %rd10;
	mul.lo.s64 	%rd17, %rd16, -7046029254386353131;
	add.s64 	%rd18, %rd17, -7046029254386353131;
	shr.u64 	%rd19, %rd18, 30;
	xor.b64  	%rd20, %rd19, %rd18;
	mul.lo.s64 	%rd21, %rd20, -4658895280553007687;
	shr.u64 	%rd22, %rd21, 27;
	xor.b64  	%rd23, %rd22, %rd21;
	mul.lo.s64 	%rd24, %rd23, -7723592293110705685;
	shr.u64 	%rd25, %rd24, 31;
	xor.b64  	%rd26, %rd24, %rd11;
	xor.b64  	%rd27, %rd26, %rd25;
	shl.b64 	%rd28, %rd33, 3;
	add.s64 	%rd29, %rd4, %rd28;
	ld.global.u64 	%rd30, [%rd29];
	setp.eq.s64 	%p2, %rd30, %rd27;
	@%p2 bra 	$L__BB1_4;
	shr.u64 	%rd31, %rd33, 9;
	add.s64 	%rd32, %rd5, %rd31;
	mov.u16 	%rs1, 1;
	st.global.u8 	[%rd32], %rs1;
$L__BB1_4:
	add.s64 	%rd33, %rd33, %rd3;
	setp.lt.u64 	%p3, %rd33, %rd9;
	@%p3 bra 	$L__BB1_2;
$L__BB1_5:
	ret;
}
)PTX";
}  // namespace gcr
